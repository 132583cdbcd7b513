"""What the seeded world is made of: shoppers, products, carriers, places. Invented, and nothing but data.

How an order is put together from it is in `world`, how a parcel travels in `scenarios`.
"""

from msgspec import Struct


class Product(Struct, frozen=True):
    id: str
    sku: str
    title: str
    cents: int
    variation: tuple[str, str]


class Carrier(Struct, frozen=True):
    """A carrier as the API writes it: a lower-case code. `#` is a digit, `@` a letter or a digit."""

    code: str
    number_form: str
    url: str


class Place(Struct, frozen=True):
    locality: str
    region: str
    postal_code: str
    street: str


FIRST_NAMES = (
    "Ada",
    "Bao",
    "Carmen",
    "Dmitri",
    "Elif",
    "Femi",
    "Grace",
    "Hiro",
    "Ines",
    "Jonas",
    "Kavya",
    "Liam",
)
LAST_NAMES = ("Abara", "Bright", "Castillo", "Demir", "Eklund", "Fontaine", "Ito", "Novak", "Okafor", "Patel")

PRODUCTS = (
    Product("product-ceramic-mug", "MUG-350-BL", "Ceramic mug, 350 ml", 1495, ("Color", "Blue")),
    Product("product-linen-apron", "APR-LIN-NA", "Linen apron", 3850, ("Color", "Natural")),
    Product("product-cast-skillet", "SKL-26-BK", "Cast-iron skillet, 26 cm", 5490, ("Size", "26 cm")),
    Product("product-tea-sampler", "TEA-12", "Tea sampler, 12 kinds", 2275, ("Pack", "12")),
    Product("product-wool-throw", "THR-130-GR", "Wool throw", 7900, ("Color", "Grey")),
    Product("product-oak-board", "BRD-OAK-M", "Oak cutting board", 4400, ("Size", "Medium")),
    Product("product-beeswax-candle", "CND-3", "Beeswax candles, set of three", 1850, ("Pack", "3")),
    Product("product-travel-flask", "FLS-500-GN", "Travel flask, 500 ml", 2999, ("Color", "Green")),
)

CARRIERS = (
    Carrier("ups", "1Z@@@@@@##########", "https://www.ups.com/track?tracknum={number}"),
    Carrier(
        "usps", "94001#################", "https://tools.usps.com/go/TrackConfirmAction?tLabels={number}"
    ),
    Carrier("fedex", "7###########", "https://www.fedex.com/fedextrack/?trknbr={number}"),
    Carrier("amzn_us", "TBA############", "https://track.amazon.com/tracking/{number}"),
)

ORIGINS = (
    Place("Carlisle", "PA", "17013", "100 Warehouse Road"),
    Place("Joliet", "IL", "60433", "2500 Depot Drive"),
    Place("San Bernardino", "CA", "92408", "800 Orchard Avenue"),
)
HUBS = (
    Place("Louisville", "KY", "40213", ""),
    Place("Memphis", "TN", "38118", ""),
    Place("Indianapolis", "IN", "46241", ""),
    Place("Ontario", "CA", "91761", ""),
)
HOMES = (
    Place("Portland", "OR", "97205", "41 Alder Street"),
    Place("Austin", "TX", "78702", "1210 Cedar Avenue"),
    Place("Burlington", "VT", "05401", "77 Maple Street"),
    Place("Savannah", "GA", "31401", "5 Magnolia Square"),
    Place("Boise", "ID", "83702", "930 Juniper Lane"),
    Place("Duluth", "MN", "55802", "18 Harbor Road"),
)

MESSAGES = {
    "PENDING": "No tracking information is available yet.",
    "INFO_RECEIVED": "The carrier has received the shipping information.",
    "IN_TRANSIT": "Package is on its way.",
    "DELAYED": "Package is delayed.",
    "OUT_FOR_DELIVERY": "Package is out for delivery.",
    "AVAILABLE_FOR_PICKUP": "Package is ready to be picked up.",
    "DELIVERY_ATTEMPTED": "A delivery was attempted.",
    "DELIVERED": "Package delivered.",
    "EXCEPTION": "Something unexpected happened to the package.",
    "LOST": "Package may be lost.",
    "UNDELIVERABLE": "Package cannot be delivered.",
    "RETURN_TO_SENDER": "Package is on its way back to the sender.",
    "CUSTOMER_ACTION": "The carrier needs something from the recipient.",
}
"""The thirteen documented milestone codes (buy-with-prime.md 5.2), and a sentence for each."""
