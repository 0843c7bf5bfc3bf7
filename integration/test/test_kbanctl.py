# SPDX-License-Identifier: MPL-2.0
"""Every command of kbanctl against a live fleet, as an administrator would run it: what it says, what a program reads
from it, and how it ends."""
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "integration" / "fleet"))
from fleet import CtlError, Fleet  # noqa: E402
from net import wait_until  # noqa: E402

BIN = os.environ.get("KBAN_BIN", str(ROOT / "build" / "dev" / "bin"))
OK, FAILED, USAGE, NOT_FOUND, DENIED, UNREACHABLE, DEGRADED = range(7)


def terminal():
    """Both ends of a terminal; a bare chroot may have no /dev/pts."""
    try:
        return pty.openpty()
    except OSError as e:
        pytest.skip(f"no terminal can be made here: {e}")


@pytest.fixture(scope="module")
def fleet():
    if os.geteuid():
        pytest.skip("network namespaces need root")
    work = tempfile.mkdtemp(prefix="kban-cli-")
    f = Fleet(BIN, work, nodes=2, tag=f"kc{os.getpid()}")
    f.agree()
    yield f
    f.close()
    shutil.rmtree(work)


def fails(fleet, code, words, *argv, **kw):
    with pytest.raises(CtlError) as e:
        fleet.ctl(*argv, **kw)
    assert e.value.code == code, str(e.value)
    assert words in e.value.err, e.value.err
    return e.value


def never_null_arrays(value):
    if isinstance(value, dict):
        assert all(never_null_arrays(v) for v in value.values())
    if isinstance(value, list):
        assert all(isinstance(v, (dict, str)) and never_null_arrays(v) for v in value)
    return True


@pytest.mark.parametrize("command, array", [
    (("cluster", "list"), "nodes"), (("cluster", "status"), "values"), (("node", "list"), "nodes"),
    (("principal", "list"), "principals"), (("broker", "list"), "brokers"), (("bans",), "bans"), (("safeacl", "list"), "ranges"), (("log",), "events"),
    (("log", "--kind", "join"), "events")])
def test_every_list_is_json_with_an_array(fleet, command, array):
    out = fleet.json(*command)
    assert isinstance(out[array], list) and never_null_arrays(out)
    for fmt in ("jsonl", "tsv", "csv"):
        text = fleet.ctl(*command, "-o", fmt)
        if fmt == "jsonl":
            assert len([json.loads(line) for line in text.splitlines()]) == len(out[array])
        else:
            assert len(text.splitlines()) == 1 + len(out[array])


def test_every_change_gives_programs_a_record(fleet):
    assert fleet.json("safeacl", "add", "198.51.100.0/24", "--reason", "office")["outcome"] == "counted"
    assert fleet.json("safeacl", "add", "198.51.100.0/24")["outcome"] == "no-change"
    assert fleet.json("safeacl", "remove", "198.51.100.0/24")["prefix"] == "198.51.100.0/24"
    assert fleet.json("ban", "203.0.113.1")["seq"] > 0
    assert fleet.json("unban", "203.0.113.1") | {"seq": 0, "accepted": 0, "accepted_s": 0} == {
        "prefix": "203.0.113.1", "outcome": "counted", "ended": 1, "covering": 0, "seq": 0, "accepted": 0, "accepted_s": 0}
    assert fleet.json("unban", "203.0.113.1", codes=(NOT_FOUND,))["ended"] == 0
    assert fleet.json("node", "release", "mail1")["outcome"] == "no-change"
    assert fleet.json("node", "invite", "guest")["token"].startswith("kban1.")
    assert fleet.json("node", "revoke", "guest")["name"] == "guest"


def test_joining_gives_programs_a_record(fleet):
    token = fleet.ctl("principal", "invite", "looker", "--role", "reader", "-q")
    path = os.path.join(fleet.work, "looker.id")
    out = json.loads(fleet.ctl("principal", "join", "--identity", path, "-o", "json", input=token))
    assert out["name"] == "looker" and out["role"] == "reader" and out["identity"] == path
    fails(fleet, DENIED, "role may not do that", "ban", "203.0.113.2", "--identity", path, identity=False)
    assert fleet.ctl("bans", "--identity", path)


def add_broker(fleet, name, *argv, **kw):
    path = os.path.join(fleet.work, f"{name}.id")
    command = ("broker", "add", name, "--endpoint", f"tcp://{name}.example:7400", "--out", path, *argv)
    return path, command


def brokers(fleet):
    return {b["name"]: b for b in fleet.json("broker", "list")["brokers"]}


def test_a_further_broker_gets_an_identity_of_its_own_and_is_never_banned(fleet):
    path, command = add_broker(fleet, "broker2", "--address", "198.18.0.2", "--address", "2001:db8:7::2")
    out = fleet.json(*command)
    text = Path(path).read_text()
    row = brokers(fleet)["broker2"]
    assert (out["name"], out["role"], out["identity"]) == ("broker2", "broker", path)
    assert os.stat(path).st_mode & 0o7777 == 0o600 and not os.path.exists(path + ".joining")
    assert "\nname broker2\nrole broker\n" in text
    assert f"broker tcp://broker2.example:7400 {row['curve_key']}" in text.splitlines() and row["curve_key"] == out["curve_key"]
    assert (row["state"], row["endpoint"], row["addresses"]) == ("granted", "tcp://broker2.example:7400", ["198.18.0.2", "2001:db8:7::2"])
    for address in ("198.18.0.2", "2001:db8:7::2"):
        assert "broker's address" in fails(fleet, FAILED, address, "ban", address).err
    assert [e["kind"] for e in fleet.json("log", "198.18.0.2")["events"]] == ["broker-address"]
    fleet.agree()


def test_a_brokers_identity_may_neither_report_nor_ask(fleet):
    path, command = add_broker(fleet, "broker3", "--address", "198.18.0.3")
    fleet.ctl(*command)
    for argv in (("ban", "203.0.113.20"), ("safeacl", "add", "203.0.113.0/24"), ("node", "invite", "mail9"),
                 ("principal", "revoke", "broker"), ("bans",), ("log",)):
        fails(fleet, DENIED, "role", *argv, "--identity", path, identity=False)


def test_adding_a_broker_goes_on_where_it_was(fleet):
    path, command = add_broker(fleet, "broker4", "--address", "198.18.0.4")
    fleet.ctl(*command)
    first = brokers(fleet)["broker4"]
    head = max(e["seq"] for e in fleet.json("log", "--since", "all")["events"])
    fleet.ctl(*command)  # nothing is left to do
    os.rename(path, path + ".joining")  # as if the join's receipt had been lost
    fleet.ctl(*command)
    assert brokers(fleet)["broker4"] == first and os.path.exists(path) and not os.path.exists(path + ".joining")
    assert {e["kind"] for e in fleet.json("log", "--since", "all")["events"] if e["seq"] > head} <= {"broker-address"}


def test_a_broker_that_is_refused_leaves_nothing_behind(fleet):
    path, command = add_broker(fleet, "mail1", "--address", "198.18.0.5")
    fails(fleet, FAILED, "name mail1 is taken", *command)
    assert not os.path.exists(path) and not os.path.exists(path + ".joining")
    assert "198.18.0.5" not in fleet.ctl("broker", "list")
    Path(path).write_text("something else\n")
    fails(fleet, FAILED, "is there already", *command)
    assert Path(path).read_text() == "something else\n"
    fails(fleet, USAGE, "tcp://HOST:PORT", "broker", "add", "x", "--endpoint", "198.18.0.5")
    fails(fleet, USAGE, "a name is 1 to", "broker", "add", "No Name", "--endpoint", "tcp://198.18.0.5:7400")
    fails(fleet, FAILED, "give its addresses with --address", "broker", "add", "x", "--endpoint", "tcp://nosuch.invalid:7400")


def init(fleet, name, *argv):
    """A cluster of its own in a new folder, made on the operator's host."""
    folder = os.path.join(fleet.work, name)
    return folder, json.loads(fleet.ctl("init", "--dir", folder, "-o", "json", *argv, identity=False))


def test_init_looks_a_name_up_unless_its_addresses_are_given(fleet):
    folder, out = init(fleet, "named", "--broker", "tcp://localhost:7400")
    assert out["addresses"] and set(out["addresses"]) <= {"127.0.0.1", "::1"}
    assert out["endpoint"] == "tcp://localhost:7400"
    assert f"broker tcp://localhost:7400 " in Path(folder, "operator.id").read_text()
    assert {f: os.stat(os.path.join(folder, f)).st_mode & 0o7777 for f in os.listdir(folder)} == dict.fromkeys(
        ("root.key", "operator.id", "broker.id", "genesis.kban"), 0o600)
    _, out = init(fleet, "given", "--broker", "tcp://nosuch.invalid:7400", "--address", "192.0.2.9")
    assert out["addresses"] == ["192.0.2.9"]
    e = fails(fleet, FAILED, "give its addresses with --address", "init", "--dir", os.path.join(fleet.work, "lost"),
              "--broker", "tcp://nosuch.invalid:7400", identity=False)
    assert "nosuch.invalid" in e.err and not os.path.exists(os.path.join(fleet.work, "lost"))


def test_an_invitation_may_be_revoked_and_purged(fleet):
    fleet.invite("ghost")
    fleet.ctl("node", "revoke", "ghost", "--purge")
    assert "ghost: revoked" in fleet.err


def test_a_withdrawn_invitation_is_listed_as_such(fleet):
    fleet.invite("mail8")
    fleet.ctl("node", "revoke", "mail8")
    assert {n["name"]: n["state"] for n in fleet.json("node", "list", "--all")["nodes"]}["mail8"] == "withdrawn"


def test_a_revoked_one_can_be_purged_later(fleet):
    token = fleet.ctl("principal", "invite", "helper", "--role", "operator", "-q")
    path = os.path.join(fleet.work, "helper.id")
    fleet.ctl("principal", "join", "--identity", path, input=token)
    fleet.ctl("ban", "203.0.113.3", "--identity", path, identity=False)
    fleet.ctl("principal", "revoke", "helper")
    assert "203.0.113.3" in {b["prefix"] for b in fleet.json("bans")["bans"]}
    fleet.ctl("principal", "revoke", "helper", "--purge")
    assert "203.0.113.3" not in {b["prefix"] for b in fleet.json("bans")["bans"]}


def test_nobody_shuts_himself_out_unawares(fleet):
    fails(fleet, FAILED, "--yes", "principal", "revoke", "operator")
    assert fleet.ctl("bans")


def test_a_state_that_is_so_already_is_not_reported_as_a_change(fleet):
    fleet.ctl("node", "release", "mail1")
    assert fleet.err == "mail1: was not on hold\n"


@pytest.mark.parametrize("prefix", ["0.0.0.0/0", "::/0", "12.0.0.0/7", "2000::/15"])
def test_what_nobody_may_ban_is_not_offered_with_force(fleet, prefix):
    for force in ((), ("--force",)):
        e = fails(fleet, FAILED, "wider than", "ban", prefix, *force)
        assert "add --force" not in e.err


def test_the_whole_internet_is_never_safe(fleet):
    assert "add --force" not in fails(fleet, FAILED, "every address", "safeacl", "add", "0.0.0.0/0", "--force").err
    assert "add --force" in fails(fleet, FAILED, "wider than /16", "safeacl", "add", "11.0.0.0/8").err


def test_a_range_that_is_not_listed_names_those_around_it(fleet):
    fleet.ctl("safeacl", "add", "192.0.2.0/24")
    assert "192.0.2.0/24" in fails(fleet, NOT_FOUND, "no safe range", "safeacl", "remove", "192.0.2.7").err
    fleet.ctl("safeacl", "remove", "192.0.2.0/24")


@pytest.mark.parametrize("code, words, argv", [
    (USAGE, "did you mean `kbanctl cluster list`", ("cluster", "lst")),
    (USAGE, "did you mean --reason", ("node", "release", "mail1", "--reasn", "x")),
    (USAGE, "NAME is missing", ("node", "invite")),
    (USAGE, "broker add", ("principal", "invite", "x", "--role", "broker")),
    (USAGE, "at most 30d", ("node", "invite", "x", "--expires", "99d")),
    (USAGE, "203.0.113.0/24", ("ban", "203.0.113.1/24")),
    (USAGE, "--wait", ("ban", "203.0.113.1", "--wait", "some")),
    (FAILED, "name mail1 is taken", ("node", "invite", "mail1")),
    (FAILED, "the fleet has", ("ban", "203.0.113.1", "--wait", "9")),
    (FAILED, "broker's address", ("ban", "10.77.0.100")),
    (NOT_FOUND, "nobody is called nosuch", ("node", "revoke", "nosuch")),
    (NOT_FOUND, "no such node", ("cluster", "status", "nosuch")),
    (NOT_FOUND, "was not banned", ("unban", "192.0.2.200")),
    (FAILED, "name your identity file with", ("bans", "--identity", "/nonexistent"))])
def test_a_mistake_is_named_with_its_remedy(fleet, code, words, argv):
    e = fails(fleet, code, words, *argv)
    if code == USAGE:
        assert e.out == ""


def test_many_commands_in_a_row_are_all_answered(fleet):
    for i in range(60):
        fleet.ctl("bans")
    fleet.agree()


def test_a_node_that_is_away_degrades_the_list(fleet):
    fleet.nodes[1].kill()
    fleet.ctl("cluster", "list", codes=(DEGRADED,))
    out = fleet.json("ban", "203.0.113.5", "--wait", "all", "--timeout", "1s", codes=(DEGRADED,))
    assert (out["enforced_on"], out["nodes"]) == (1, 2)
    fleet.nodes[1].start()
    fleet.agree()


def test_a_broker_that_is_away_is_said_so(fleet):
    fleet.broker.kill()
    fails(fleet, UNREACHABLE, "refuses connections", "cluster", "list")
    fleet.start_broker()
    fleet.agree()


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"\n"])
def test_a_prompt_for_a_token_leaves_the_terminal_as_it_was(key, tmp_path):
    ours, its = terminal()
    before = termios.tcgetattr(its)
    p = subprocess.Popen([sys.executable, "-c", "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
                          "os.execv(sys.argv[1], sys.argv[1:])", os.path.join(BIN, "kbanctl"), "node", "join",
                          "--identity", str(tmp_path / "node.id")], stdin=its, stdout=its, stderr=its, start_new_session=True)
    said = b""
    while b"token: " not in said:
        said += os.read(ours, 1000)
    wait_until("the prompt hides what is typed", lambda: not termios.tcgetattr(its)[3] & termios.ECHO)
    os.write(ours, b"kban1.abc" + key)
    assert p.wait(10) == FAILED
    assert termios.tcgetattr(its) == before
    os.close(ours), os.close(its)
