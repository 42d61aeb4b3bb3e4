"""Opening a page without a browser."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

FOLDER = Path(__file__).parent.parent.parent / "dashboards"


def open_page(name: str, **query: str) -> AppTest:
    """The page `views/<name>.py` at an address, after its first run."""
    page = AppTest.from_file(str(FOLDER / "views" / f"{name}.py"), default_timeout=120)
    page.query_params.update(query)
    return page.run()


def headline(page: AppTest) -> str:
    """The page's answer: the one box of colour."""
    assert not page.exception, page.exception[0].message
    (box,) = [*page.error, *page.success]
    return box.value


def links(page: AppTest) -> str:
    """The picture of the cluster, in words."""
    return next(alt for alt in charts(page) if alt.startswith("At "))


def charts(page: AppTest) -> dict[str, str]:
    """What each chart draws, by its description."""
    return {chart.proto.alt: chart.proto.spec for chart in page.get("plotly_chart")}
