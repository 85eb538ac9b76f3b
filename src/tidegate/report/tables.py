"""Tables that become lists of cards on a phone, and the small signs that stand in them."""

from collections.abc import Iterable, Sequence

from tidegate.report.html import Child, Html, element, fragment
from tidegate.report.words import clipped, count, share
from tidegate.runbook.step import Finding, Verdict

__all__ = ["finding", "pill", "table", "verdict"]

SIGNS = {"pass": "✓", "fail": "✕", "inconclusive": "?"}


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Child] | Html],
    *,
    numeric: Sequence[int] = (),
    kind: str = "cards",
) -> Html:
    """A row that is Html already spans the table. On a phone a row is a card, unless the table is `compact`."""

    def cell(n: int, child: Child) -> Html:
        return element("td", child, data_label=heads[n] or None, class_="number" if n in numeric else None)

    def row(cells: Sequence[Child] | Html) -> Html:
        if isinstance(cells, Html):
            return element("tr", element("td", cells, colspan=len(heads)), class_="span")
        return element("tr", *(cell(n, child) for n, child in enumerate(cells)))

    head = [element("th", name, scope="col", class_="number" if n in numeric else None) for n, name in enumerate(heads)]
    return element("table", element("thead", element("tr", *head)), element("tbody", *map(row, rows)), class_=kind)


def verdict(of: Verdict) -> Html:
    """A sign with its word for those who can't see it."""
    return element("span", SIGNS[of], class_=f"verdict {of}", title=of, role="img", aria_label=of)


def pill(text: str, tone: str) -> Html:
    return element("span", text, class_=f"pill {tone}")


def finding(found: Finding) -> Html:
    """The verdict, with what was observed and what could have been detected, unless its message says so; the mend."""
    figures: list[str] = []
    if found.observed is not None and f"{found.observed:,.0f}" not in found.message:
        figures.append(f"observed {count(found.observed)}")
    if found.detectable is not None and f"{found.detectable:.1%}" not in found.message:
        figures.append(_detectable(found.detectable))
    told = "; ".join(figures)
    return element(
        "div",
        verdict(found.verdict),
        element(
            "span",
            fragment(
                clipped(found.message),
                element("small", told) if told else None,
                element("small", fragment("mend: ", clipped(found.mend))) if found.mend else None,
            ),
        ),
        class_="finding",
    )


def _detectable(value: float) -> str:
    """A rate, as every judge of health gives it."""
    return f"would have shown {share(value)} or more" if 0 <= value <= 1 else f"would have shown {count(value)}"
