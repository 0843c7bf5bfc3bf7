# SPDX-License-Identifier: MPL-2.0
"""How the whole-fleet tests read a kernel's sets."""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fleet"))
import kernel  # noqa: E402


class Host:
    """A host whose nft prints this table: sets by name, and the names of those that a rule uses."""

    def __init__(self, sets, used):
        items = [{"set": {"name": n, "elem": elements}} for n, elements in sets.items()]
        rules = [{"rule": {"expr": [{"match": {"op": "==", "left": {"payload": {}}, "right": f"@{n}"}}]}} for n in used]
        self.text = json.dumps({"nftables": items + rules})

    def run(self, *argv, check):
        return self.text


def test_a_set_that_took_anothers_place_is_read_by_its_length():
    host = Host({"ban4_24b": [{"elem": {"val": "203.0.113.0", "timeout": 60}}], "ban6_64b": ["2001:db8::"],
                 "safe4_32b": ["192.0.2.1"]}, ["ban4_24b", "ban6_64b", "safe4_32b"])
    assert kernel.prefixes(host, "ban") == {"203.0.113.0/24", "2001:db8::/64"}
    assert kernel.prefixes(host, "safe") == {"192.0.2.1/32"}


def test_a_set_that_is_still_being_filled_blocks_nothing():
    host = Host({"ban4_32": ["203.0.113.1"], "ban4_32b": ["203.0.113.1", "203.0.113.2"]}, ["ban4_32"])
    assert kernel.prefixes(host, "ban") == {"203.0.113.1/32"}


def test_no_table_blocks_nothing():
    host = Host({}, [])
    host.text = "Error: No such file or directory\n"
    assert kernel.prefixes(host, "ban") == set()
