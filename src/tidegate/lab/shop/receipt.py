"""A receipt: the object that every order leaves behind."""

import hashlib
from collections.abc import Sequence

__all__ = ["receipt", "receipt_key"]


def receipt_key(write_id: str) -> str:
    return f"receipts/{write_id}.txt"


def receipt(write_id: str, customer: int, lines: Sequence[tuple[int, int]]) -> bytes:
    """`lines`: (product, quantity). One to four KiB, the same bytes for the same order."""
    goods = "\n".join(f"{quantity:>4} x product {product}" for product, quantity in lines)
    head = f"RECEIPT {write_id}\ncustomer {customer}\n{goods}\n"
    digest = hashlib.sha256(head.encode()).hexdigest()
    terms = 16 + int(digest[:2], 16) % 44
    return (head + "".join(f"terms {number:02} {digest[:48]}\n" for number in range(terms))).encode()
