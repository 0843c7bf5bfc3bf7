# SPDX-License-Identifier: MPL-2.0
"""Years of operation: real programs on a log that is older than the history period."""
import os
import time

import pytest

import kernel
from net import wait_until

LONG_BAN, IN_LONG_BAN, OFFICE = "203.0.113.0/28", "203.0.113.5", "198.51.100.0/24"


def compacted(fleet):
    with open(fleet.broker_output) as f:
        return "compaction is done" in f.read()


def status(fleet, name):
    return next(r for r in fleet.cluster()["nodes"] if r["name"] == name)


def size(folder):
    return os.stat(os.path.join(folder, "data.mdb")).st_blocks * 512


@pytest.fixture
def old_fleet(make_fleet):
    """A broker with 200 days of log; mail1 was there all the time, mail2 has been off for 120 days."""
    f = make_fleet(nodes=0, past={"entries": 20000, "days": 200, "away": {"mail1": 0, "mail2": 120}})
    wait_until("the broker has compacted its log", lambda: compacted(f), 60)
    return f


def test_a_node_that_was_away_for_months_and_a_new_one_agree_with_the_rest(old_fleet):
    for i in (1, 2, 3):
        old_fleet.add_node(i)
    old_fleet.agree(60)
    for n in old_fleet.nodes:
        assert kernel.full(LONG_BAN) in n.banned() and kernel.full(OFFICE) in n.safe()
    old_fleet.nodes[1].attack("203.0.113.77")
    wait_until("the new ban is everywhere", lambda: all(kernel.full("203.0.113.77") in n.banned() for n in old_fleet.nodes))
    old_fleet.agree()


def test_a_node_whose_state_nobody_else_can_confirm_says_so_until_somebody_does(old_fleet):
    new = old_fleet.add_node(3)
    wait_until("mail3 has taken the state", lambda: kernel.full(LONG_BAN) in new.banned(), 60)
    wait_until("mail3 is unconfirmed", lambda: status(old_fleet, "mail3")["state"] == "unconfirmed", 30)
    old_fleet.add_node(2)  # which has to take the same state: its word proves nothing
    wait_until("mail2 is unconfirmed too", lambda: status(old_fleet, "mail2")["state"] == "unconfirmed", 30)
    assert status(old_fleet, "mail3")["state"] == "unconfirmed"
    old_fleet.add_node(1)  # which has folded the log itself
    old_fleet.agree(60)


def test_a_fleet_in_which_all_took_the_state_goes_on_once_an_operator_accepts_it(old_fleet):
    two, three = old_fleet.add_node(2), old_fleet.add_node(3)
    for name in ("mail2", "mail3"):
        wait_until(f"{name} is unconfirmed", lambda n=name: status(old_fleet, n)["state"] == "unconfirmed", 60)
    two.attack("203.0.113.77")
    wait_until("an unconfirmed node reports", lambda: kernel.full("203.0.113.77") in three.banned())
    old_fleet.ctl("cluster", "accept-epoch", "--yes")
    assert old_fleet.cluster()["broker"]["epoch"] == 2
    rows = {r["name"]: r for r in old_fleet.cluster()["nodes"]}
    assert [rows[n]["state"] for n in ("mail2", "mail3")] == ["live", "live"]
    assert rows["mail2"]["epoch"] == rows["mail3"]["epoch"] == 2
    old_fleet.agree(60)
    three.attack("203.0.113.78")  # whose base is of the new epoch
    wait_until("the new ban is everywhere", lambda: all(kernel.full("203.0.113.78") in n.banned() for n in (two, three)))
    for n in (two, three):
        n.restart()
    old_fleet.broker.stop()
    old_fleet.start_broker()
    old_fleet.agree(60)
    two.attack("203.0.113.79")
    wait_until("and after restarts", lambda: kernel.full("203.0.113.79") in three.banned())
    assert "accepts entry " in str(old_fleet.json("log", "--kind", "epoch")["events"][0])
    old_fleet.add_node(1)  # it has folded the log itself, up to before the new epoch
    old_fleet.agree(60)


def test_what_was_banned_before_the_history_period_still_has_its_reason(old_fleet):
    old_fleet.add_node(1)
    why = old_fleet.json("why", IN_LONG_BAN)
    assert why["blocked"] and why["reasons"][0]["reason"] == "spammers" and why["reasons"][0]["author"] == "operator"
    assert all(r["checked"] for r in why["reasons"])
    assert old_fleet.json("safeacl", "list")["ranges"][0]["reason"] == "head office"


def test_a_restart_after_compaction_reads_the_same_ledger(old_fleet):
    for i in (1, 2):
        old_fleet.add_node(i)
    old_fleet.agree(60)
    before = old_fleet.cluster()["broker"]
    old_fleet.broker.stop()
    old_fleet.start_broker()
    for n in old_fleet.nodes:
        n.restart()
    old_fleet.agree(60)
    assert old_fleet.cluster()["broker"]["digest"] == before["digest"]


def test_the_broker_keeps_the_history_period_and_little_more(old_fleet):
    rows = old_fleet.json("log", "--since", "all")["events"]
    bans = [r for r in rows if r["kind"] == "ban" and r["author"].startswith("mail")]
    days = (time.time() - min(r["time_s"] for r in bans[1000:])) / 86400
    assert 8500 < len(bans) < 9500 and days < 94
