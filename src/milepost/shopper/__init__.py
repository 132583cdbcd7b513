"""What shoppers read: the texts of notifications in every language, their dates, and the mails made of them.

`composing` is the door; each other module is a part of a message. Nothing is sent and nothing is decided here, and
only the order's view is read: no store, no clock, no address.
"""
