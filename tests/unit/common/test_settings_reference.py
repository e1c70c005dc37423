"""docs/reference/settings.md names every setting of every service, and none that is gone."""

import re
from pathlib import Path

import pytest

from fedpriv_client.settings import SiteSettings
from fedpriv_metrics.settings import MetricsSettings
from fedpriv_server.settings import ServerSettings
from scripts.demo.settings import DemoSettings

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "settings.md").read_text()


@pytest.mark.parametrize(
    ("title", "settings"),
    [("Site", SiteSettings), ("Server", ServerSettings), ("Metrics API", MetricsSettings), ("Demo", DemoSettings)],
)
def test_the_reference_lists_exactly_the_settings(title, settings):
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", REFERENCE, re.M | re.S)
    rows = dict(re.findall(r"^\| `FEDPRIV_(\w+)` \| (.*) \|$", section.group(1), re.M))
    assert set(rows) == {name.upper() for name in settings.model_fields}
    for name, cells in rows.items():
        default, meaning = (cell.strip() for cell in cells.split("|", 1))
        assert meaning, name
        assert (default == "required") == settings.model_fields[name.lower()].is_required(), name
