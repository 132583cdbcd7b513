"""The sandbox's page: orders as the shopper sees them, with what moves them on, and what was published of it.

`routes` answers the addresses, `forms` does what a button asks for, `order_details` and `offers` say what there is
to see of an order and to do to it, `publishing` what was published; the rest is templates and one style sheet. The
page works without scripts, and loads nothing from elsewhere.
"""
