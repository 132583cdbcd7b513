"""The console: pages for the people of a merchant or an agency, rendered here and readable without a script.

`web.visiting` says who looks and what they may, `pages` renders, `forms` takes what is sent back, `assets` serves
style sheet, script, icons and fonts. Every other module is one kind of page: its addresses, what it reads, what its
forms do. A page reads through the same functions as the API beside this folder, so that both say the same.
"""

from milepost.web.console import assets, front, mapping

HANDLERS = [*assets.HANDLERS, *front.HANDLERS, *mapping.HANDLERS]
"""Every route of the console."""
