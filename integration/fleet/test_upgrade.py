# SPDX-License-Identifier: MPL-2.0
"""Fold versions: a fleet in which some programs are of the next release, which knows one version more."""
import pytest

import kernel
from fleet import CtlError
from net import wait_until

BEFORE, AFTER, LOCAL = "203.0.113.1", "203.0.113.2", "203.0.113.3"


def has(node, address):
    return kernel.full(address) in node.banned()


def state(fleet, node):
    return next(r for r in fleet.cluster()["nodes"] if r["name"] == node.name)["state"]


def upgrade(node):
    node.release = "next"
    node.restart()


@pytest.fixture
def mixed(fleet):
    """The broker and mail3 are of the next release, mail1 and mail2 of this one."""
    fleet.broker.stop()
    fleet.start_broker(release="next")
    upgrade(fleet.nodes[2])
    fleet.agree()
    return fleet


def test_the_switch_is_refused_by_name_until_every_node_knows_the_version(mixed):
    mixed.ctl("cluster", "fold-version", "2", codes=(1,), release="next")
    assert "mail1" in mixed.err and "mail2" in mixed.err and "mail3 (" not in mixed.err and "--force" in mixed.err
    upgrade(mixed.nodes[0])
    upgrade(mixed.nodes[1])
    mixed.agree()
    mixed.ctl("cluster", "fold-version", "2", release="next")
    mixed.nodes[0].attack(AFTER)
    wait_until("every upgraded node goes on", lambda: all(has(n, AFTER) for n in mixed.nodes))
    assert all(n.process.alive() for n in mixed.nodes)
    events = mixed.ctl("log", "--kind", "fold-version", "-o", "tsv", release="next")
    assert "fold-version" in events and "operator" in events


def test_a_node_of_the_old_release_keeps_enforcing_and_says_upgrade_needed(mixed):
    old, new = mixed.nodes[0], mixed.nodes[2]
    new.attack(BEFORE)
    wait_until("the ban is everywhere", lambda: all(has(n, BEFORE) for n in mixed.nodes))
    mixed.ctl("cluster", "fold-version", "2", "--force", release="next")
    new.attack(AFTER)
    wait_until("the new node goes on", lambda: has(new, AFTER))
    wait_until("the old one says what it needs", lambda: mixed.ctl("cluster", "list", codes=(6,), release="next").count("upgrade-needed") >= 2)
    assert has(old, BEFORE) and not has(old, AFTER)
    old.attack(LOCAL)
    wait_until("it still bans on its own server", lambda: has(old, LOCAL))
    assert not has(new, LOCAL)
    old.restart()
    wait_until("also after a restart", lambda: has(old, BEFORE) and has(old, LOCAL))
    upgrade(old)
    wait_until("upgraded, it goes on and tells the others what it saw", lambda: has(old, AFTER) and has(new, LOCAL))


def test_an_old_kbanctl_and_an_old_broker_name_the_remedy(mixed):
    mixed.ctl("cluster", "fold-version", "2", "--force", release="next")
    with pytest.raises(CtlError) as e:
        mixed.ctl("bans")
    assert e.value.code == 1 and "upgrade" in e.value.err
    mixed.broker.stop()
    p = mixed.broker_host.run(mixed.program("kban-broker"), "-c", mixed.broker_conf, check=False)
    with open(mixed.broker_output) as f:
        said = f.read() + (p or "")
    assert "upgrade" in said
    mixed.start_broker(release="next")
    assert mixed.ctl("cluster", "status", codes=(0, 6), release="next")
