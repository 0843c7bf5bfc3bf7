# SPDX-License-Identifier: MPL-2.0
"""What a newcomer answers with kbanctl alone, against a live fleet: who is blocked, why, since when, by whom, until
when, on which servers, and how to let him in; who did what; and what another policy would do."""
import json
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

import kernel
from conftest import BIN
from fleet import CtlError, Fleet
from net import wait_until, within

OK, FAILED, USAGE, NOT_FOUND = 0, 1, 2, 3
WORDS = "10 failed logins at smtp on mail1 (rule unknown-user)"


@pytest.fixture(scope="module")
def fleet():
    if os.geteuid():
        pytest.skip("network namespaces need root")
    work = tempfile.mkdtemp(prefix="kban-why-")
    f = Fleet(BIN, work, nodes=2, tag=f"kw{os.getpid()}")
    try:
        f.agree()
        yield f
    finally:
        f.close()
        shutil.rmtree(work)


def attack(fleet, address, node=0, user="joe@example.com"):
    fleet.nodes[node].attack(address, user=user)
    p = kernel.full(address if ":" not in address else address.rsplit("::", 1)[0] + "::/64")
    wait_until(f"{address} is banned on every node", lambda: all(p in n.banned() for n in fleet.live_nodes()))


def member(fleet, name, role):
    """Somebody of that role; his identity."""
    path = os.path.join(fleet.work, name + ".id")
    if not os.path.exists(path):
        token = fleet.ctl("principal", "invite", name, "--role", role, "-q")
        fleet.ctl("principal", "join", "--identity", path, input=token)
    return path


def first_line(fleet, *argv, codes=(0,)):
    return fleet.ctl("why", *argv, codes=codes).splitlines()[0]


def why(fleet, address, codes=(0,)):
    out = fleet.json("why", address, codes=codes)
    assert all(isinstance(out[k], list) for k in ("nodes", "reasons", "safe", "unbans", "refused"))
    assert all(r["checked"] for r in out["reasons"] + out["safe"] + out["unbans"] + out["refused"])
    assert out["unverified"] == 0
    return out


# why --------------------------------------------------------------------------------------------


def test_one_sentence_answers_who_why_until_when_and_where(fleet):
    attack(fleet, "203.0.113.9")
    out = why(fleet, "203.0.113.9")
    assert out["sentence"] == f"203.0.113.9 is blocked until {out['until']} on 2 of 2 servers: {WORDS}."
    assert first_line(fleet, "203.0.113.9") == out["sentence"] == first_line(fleet, "::ffff:203.0.113.9")
    assert out["blocked"] and out["by"] == "203.0.113.9" and out["let_in"] == "kbanctl unban 203.0.113.9"
    assert out["let_in_for_good"] == "kbanctl safeacl add 203.0.113.9 --reason TEXT"
    assert {(n["name"], n["blocks"]) for n in out["nodes"]} == {("mail1", True), ("mail2", True)}
    reason, = out["reasons"]
    assert (reason["author"], reason["role"], reason["server"], reason["rule"], reason["service"], reason["count"]) == (
        "mail1", "node", "mail1", "unknown-user", "smtp", 10)
    assert "User joe@example.com doesn't exist. Attempt from IP address 203.0.113.9." in reason["line"]
    assert reason["outcome"] == "counted" and reason["running"] and reason["strikes"] == 1 and not reason["ended_early"]
    assert reason["until_s"] - reason["since_s"] == 300 and reason["first_s"] <= reason["last_s"] <= reason["since_s"] + 1
    text = fleet.ctl("why", "203.0.113.9")
    assert "in the kernel of: mail1 mail2" in text and "signature checked here" in text and "to let it in for good" in text


def test_a_hostile_log_line_is_shown_escaped(fleet):
    attack(fleet, "203.0.113.20", user="\x1b[31mevil\u202e")
    assert "\x1b" not in fleet.ctl("why", "203.0.113.20") and "\u202e" not in fleet.ctl("why", "203.0.113.20")
    assert "\\x1b[31mevil" in fleet.ctl("why", "203.0.113.20")
    assert "\\x1b[31mevil" in why(fleet, "203.0.113.20")["reasons"][0]["line"]


def test_an_ipv6_address_is_found_with_its_64(fleet):
    attack(fleet, "2001:db8:1:2::7")
    line = first_line(fleet, "2001:db8:1:2::99")
    assert line.startswith("2001:db8:1:2::99 is blocked until") and "with all of 2001:db8:1:2::/64" in line
    assert why(fleet, "2001:db8:1:2::99")["let_in"] == "kbanctl unban 2001:db8:1:2::/64"
    assert why(fleet, "2001:db8:1:3::99", codes=(NOT_FOUND,))["reasons"] == []


def test_a_nat64_address_names_the_ipv4_host_behind_it(fleet):
    assert "see also: kbanctl why 203.0.113.9" in fleet.ctl("why", "64:ff9b::cb00:7109", codes=(NOT_FOUND,))


def test_a_wider_ban_is_named_and_a_prefix_is_told_with_what_is_inside(fleet):
    fleet.ctl("ban", "198.18.0.0/24", "--for", "1h", "--reason", "scanners", "--wait", "all")
    assert first_line(fleet, "198.18.0.7").endswith("with all of 198.18.0.0/24: banned by operator: scanners.")
    assert why(fleet, "198.18.0.0/24")["blocked"]
    out = why(fleet, "198.18.0.0/20")
    assert not out["blocked"] and out["sentence"] == "198.18.0.0/20 as a whole is not blocked; 1 ban inside it runs."
    with pytest.raises(CtlError) as e:
        fleet.ctl("why", "198.18.0.7/24")
    assert e.value.code == USAGE and "did you mean 198.18.0.0/24" in e.value.err


def test_a_safe_address_inside_a_wide_ban_is_not_blocked(fleet):
    fleet.ctl("ban", "198.18.1.0/24", "--wait", "all")
    fleet.ctl("safeacl", "add", "198.18.1.7", "--reason", "head office")
    assert first_line(fleet, "198.18.1.7") == "198.18.1.7 is not blocked: safe range 198.18.1.7 (operator: head office) covers it."
    assert first_line(fleet, "198.18.1.8").startswith("198.18.1.8 is blocked")
    safe, = why(fleet, "198.18.1.7")["safe"]
    assert (safe["state"], safe["author"], safe["reason"], safe["covers"], safe["checked"]) == ("active", "operator", "head office", True, True)


def test_an_unban_says_who_and_why(fleet):
    attack(fleet, "203.0.113.30")
    fleet.ctl("unban", "203.0.113.30", "--why", "customer called")
    out = why(fleet, "203.0.113.30")
    assert out["sentence"].startswith("203.0.113.30 is not blocked: operator ended its newest ban at")
    assert "customer called" in out["sentence"] and not out["blocked"]
    assert out["reasons"][0]["ended_early"] and out["reasons"][0]["ended_by"] == "operator"
    assert [(u["author"], u["reason"]) for u in out["unbans"]] == [("operator", "customer called")]


def test_who_unbans_again_is_told_of_safe_ranges(fleet):
    for again in (False, True):
        fleet.ctl("ban", "203.0.113.31")
        fleet.ctl("unban", "203.0.113.31")
        assert ("kbanctl safeacl add 203.0.113.31" in fleet.err) == again


def test_a_purge_is_found_though_it_names_no_address(fleet):
    feeder = member(fleet, "honeypot", "feeder")
    fleet.ctl("ban", "203.0.113.40", "--identity", feeder)
    fleet.ctl("principal", "revoke", "honeypot", "--purge", "--reason", "it went mad")
    out = why(fleet, "203.0.113.40")
    assert out["sentence"].startswith("203.0.113.40 is not blocked: operator ended its newest ban at")
    assert out["reasons"][0]["ended_by"] == "operator"


def test_a_held_range_counts_on_its_own_node_only_and_says_how_to_approve_it(fleet):
    fleet.ctl("ban", "203.0.113.50", "--for", "1h", "--wait", "all")
    with open(fleet.nodes[0].identity + ".counter", "w") as f:  # Welcome tells operators and feeders theirs, not nodes
        f.write("1000\n")
    os.chmod(f.name, 0o600)
    fleet.ctl("safeacl", "add", "203.0.113.50", "--identity", fleet.nodes[0].identity, codes=(0, 4))
    out = why(fleet, "203.0.113.50")
    assert [(s["state"], s["author"]) for s in out["safe"]] == [("held", "mail1")]
    assert "on 1 of 2 servers" in out["sentence"]
    fleet.ctl("bans", "203.0.113.50")
    assert "in the kernel of 1 of 2 servers" in fleet.err
    assert {n["name"]: n["enforcement"] for n in out["nodes"]} == {"mail1": "excepted", "mail2": "blocks"}
    assert "kbanctl safeacl approve 203.0.113.50 --node mail1" in fleet.ctl("why", "203.0.113.50")
    fleet.ctl("safeacl", "approve", "203.0.113.50", "--node", "mail1")
    assert first_line(fleet, "203.0.113.50") == "203.0.113.50 is not blocked: safe range 203.0.113.50 (mail1) covers it."
    fleet.ctl("safeacl", "remove", "203.0.113.50")
    out = why(fleet, "203.0.113.50")
    assert [(s["state"], s["decided_by"]) for s in out["safe"]] == [("rejected", "operator")]


def test_what_was_refused_is_told(fleet):
    fleet.ctl("safeacl", "add", "203.0.113.60", "--reason", "monitoring")
    fleet.ctl("ban", "203.0.113.60", codes=(FAILED,))
    out = why(fleet, "203.0.113.60")
    assert [(r["kind"], r["outcome"], r["author"], r["seq"]) for r in out["refused"]] == [("ban", "safe", "operator", None)]
    fleet.ctl("safeacl", "remove", "203.0.113.60")
    assert first_line(fleet, "203.0.113.60") == "203.0.113.60 is not blocked: a ban (banned by operator) was refused, safe."
    assert "because: safe" in fleet.ctl("why", "203.0.113.60")


@pytest.mark.parametrize("address, words", [("127.0.0.1", "loopback"), ("10.77.0.100", "a broker's address")])
def test_what_is_never_blocked_says_so(fleet, address, words):
    assert words in first_line(fleet, address, codes=(0, 3))


def test_nothing_known_is_exit_code_3(fleet):
    assert first_line(fleet, "192.0.2.99", codes=(NOT_FOUND,)) == "192.0.2.99 is not blocked; nothing is known of it."


def test_a_node_that_is_away_is_named(fleet):
    fleet.nodes[1].kill()
    fleet.ctl("ban", "203.0.113.70")
    wait_until("the broker knows", lambda: "on 1 of 2 servers" in first_line(fleet, "203.0.113.70"))
    assert {n["name"]: n["enforcement"] for n in why(fleet, "203.0.113.70")["nodes"]} == {"mail1": "blocks", "mail2": "away"}
    assert "no fresh word of: mail2 (offline)" in fleet.ctl("why", "203.0.113.70")
    assert {n["name"]: n["blocks"] for n in why(fleet, "203.0.113.70")["nodes"]} == {"mail1": True, "mail2": None}
    fleet.nodes[1].start()
    fleet.agree()


def test_who_was_away_when_somebody_was_let_in_is_named_until_it_has_caught_up(fleet):
    fleet.ctl("ban", "203.0.113.71", "--for", "1h", "--wait", "all")
    fleet.ctl("ban", "203.0.113.72", "--for", "1h", "--wait", "all")
    until = why(fleet, "203.0.113.71")["until"]
    fleet.nodes[1].kill()
    wait_until("the broker knows", lambda: "mail2 (offline)" in fleet.ctl("why", "203.0.113.71"))
    fleet.ctl("unban", "203.0.113.71")
    assert "203.0.113.71: 1 ban ended" in fleet.err
    assert "not confirmed yet by mail2 (offline), which may still block 203.0.113.71" in fleet.err
    fleet.ctl("safeacl", "add", "203.0.113.72")
    assert "not confirmed yet by mail2 (offline), which may still block 203.0.113.72" in fleet.err
    for address in ("203.0.113.71", "203.0.113.72"):
        out = why(fleet, address)
        assert out["sentence"].endswith(f"; mail2 (offline) may still block it until {out['nodes'][1]['may_block_until']}.")
        assert not out["blocked"] and {n["name"]: n["blocks"] for n in out["nodes"]} == {"mail1": False, "mail2": None}
    assert why(fleet, "203.0.113.71")["nodes"][1]["may_block_until"] == until
    fleet.ctl("bans")
    assert "no fresh word of mail2 (offline)" in fleet.err
    fleet.nodes[1].start()
    fleet.agree()
    for address in ("203.0.113.71", "203.0.113.72"):
        out = why(fleet, address)
        assert "may still" not in out["sentence"] and not any(n["blocks"] for n in out["nodes"])
    fleet.ctl("safeacl", "remove", "203.0.113.72")
    fleet.ctl("ban", "203.0.113.71")
    fleet.ctl("unban", "203.0.113.71")
    assert "not confirmed" not in fleet.err


def test_what_ended_a_wide_ban_is_told_for_every_address_in_it(fleet):
    fleet.ctl("ban", "198.18.4.0/24", "--for", "1h")
    fleet.ctl("unban", "198.18.4.9", "--covering", "--why", "customer called")
    assert "198.18.4.9: 1 ban ended" in fleet.err and "198.18.4.0/24, which covers it, is let in with it" in fleet.err
    out = why(fleet, "198.18.4.10")
    assert "operator ended its newest ban at" in out["sentence"] and "customer called" in out["sentence"]
    assert out["reasons"][0]["ended_by"] == "operator" and out["unbans"][0]["prefix"] == "198.18.4.9"
    row, = log(fleet, "198.18.4.10")
    assert row["ended_early"] and row["until"] == out["reasons"][0]["until"]
    assert f"ended {row['until'][11:19]}" in fleet.ctl("log", "198.18.4.10")


def test_a_feeder_withdraws_its_own_bans_only_and_waits_by_what_nodes_say(fleet):
    feeder = member(fleet, "trap", "feeder")
    fleet.ctl("ban", "203.0.113.90", "--wait", "all", "--identity", feeder)
    assert "in the kernel of 2 of 2 nodes" in fleet.err
    assert [b["rule"] for b in fleet.json("bans", "203.0.113.90")["bans"]] == ["feeder"]
    fleet.ctl("unban", "203.0.113.90", "--identity", feeder)
    assert "203.0.113.90: your ban has ended" in fleet.err
    assert not why(fleet, "203.0.113.90")["blocked"]
    fleet.ctl("ban", "203.0.113.91")
    fleet.ctl("ban", "203.0.113.91", "--for", "2h")
    fleet.ctl("unban", "203.0.113.91", "--identity", feeder, codes=(NOT_FOUND,))
    assert "no ban of exactly 203.0.113.91 by trap runs" in fleet.err
    assert fleet.json("unban", "203.0.113.91")["ended"] == len(why(fleet, "203.0.113.91")["reasons"]) == 2
    fleet.ctl("ban", "198.18.5.0/24", "--identity", feeder, codes=(FAILED,))
    assert "a feeder bans single IPv4 addresses" in fleet.err and "--force" not in fleet.err


def test_after_a_restart_a_broker_that_has_not_heard_of_a_server_says_so(fleet):
    fleet.ctl("ban", "203.0.113.92", "--wait", "all")
    for n in fleet.nodes:
        n.kill()
    fleet.broker.kill()
    fleet.start_broker()
    servers = "0 of 2 servers (2 not known yet: the broker has not heard of them since it started)"
    assert servers in first_line(fleet, "203.0.113.92")
    fleet.ctl("bans")
    assert f"in the kernel of {servers}" in fleet.err
    assert {r["state"] for r in fleet.cluster()["nodes"]} == {"unheard"}
    for n in fleet.nodes:
        n.start()
    fleet.agree()
    fleet.ctl("unban", "203.0.113.92")


def test_a_prefix_with_the_brokers_address_is_told_with_the_bans_inside(fleet):
    fleet.ctl("ban", "10.77.9.9")
    line = first_line(fleet, "10.77.0.0/16")
    assert line == "10.77.0.0/16 as a whole cannot be banned (it holds a broker's address); 1 ban inside it runs."
    assert "to let it in now:      kbanctl unban 10.77.0.0/16" in fleet.ctl("why", "10.77.0.0/16")
    fleet.ctl("unban", "10.77.0.0/16")


def test_bans_say_on_how_many_servers(fleet):
    attack(fleet, "203.0.113.80")
    assert "203.0.113.80" in fleet.ctl("bans")
    assert "in the kernel of 2 of 2 servers; `kbanctl why PREFIX`" in fleet.err


def test_every_format_has_every_event(fleet):
    attack(fleet, "203.0.113.81")
    fleet.ctl("unban", "203.0.113.81")
    for fmt in ("tsv", "csv"):
        assert [r.split("\t" if fmt == "tsv" else ",")[0] for r in fleet.ctl("why", "203.0.113.81", "-o", fmt).splitlines()] == ["kind", "ban", "unban"]
    assert json.loads(fleet.ctl("why", "203.0.113.81", "-o", "jsonl"))["address"] == "203.0.113.81"


# log --------------------------------------------------------------------------------------------


def log(fleet, *argv):
    rows = [json.loads(line) for line in fleet.ctl("log", "-o", "jsonl", *argv).splitlines()]
    assert all(r["checked"] for r in rows)
    return rows


def test_the_log_is_filtered_by_prefix_kind_and_author(fleet):
    attack(fleet, "192.0.2.10", node=1)
    fleet.ctl("unban", "192.0.2.10", "--reason", "mistake")
    rows = log(fleet, "192.0.2.10")
    assert [(r["kind"], r["author"], r["what"], r["outcome"]) for r in rows] == [
        ("ban", "mail2", "192.0.2.10", "counted"), ("unban", "operator", "192.0.2.10", "counted")]
    assert rows[0]["why"] == WORDS.replace("mail1", "mail2") and rows[1]["why"] == "mistake"
    assert rows[0]["rule"] == "unknown-user" and rows[0]["count"] == 10 and rows[0]["until"]
    assert [r["kind"] for r in log(fleet, "192.0.2.0/24", "--kind", "unban")] == ["unban"]
    assert {r["author"] for r in log(fleet, "--author", "mail2")} == {"mail2"}
    assert {r["kind"] for r in log(fleet, "--kind", "invite", "--kind", "join")} == {"invite", "join"}
    assert log(fleet, "192.0.2.10", "--author", "mail1") == []
    assert log(fleet)[0]["kind"] == "grant" and log(fleet, "--since", "1ms") == []
    assert len(json.loads(fleet.ctl("log", "192.0.2.10", "-o", "json"))["events"]) == 2


def test_the_log_names_whom_it_is_about(fleet):
    fleet.invite("mail7")
    fleet.ctl("node", "revoke", "mail7", "--reason", "never came")
    rows = log(fleet, "--kind", "invite", "--kind", "revoke")
    assert [r["what"] for r in rows][-2:] == ["mail7 (node)", "mail7"] and rows[-1]["why"] == "never came"


@pytest.mark.parametrize("words, argv", [
    ("did you mean ban?", ("--kind", "bann")), ("give --kind once for each", ("--kind", "ban,unban")), ("use -o jsonl", ("--follow", "-o", "json")),
    ("--since", ("--since", "yesterday"))])
def test_a_bad_filter_is_named(fleet, words, argv):
    with pytest.raises(CtlError) as e:
        fleet.ctl("log", *argv)
    assert e.value.code == USAGE and words in e.value.err


def test_what_fails_at_once_leaves_stdout_alone(fleet):
    feeder = member(fleet, "looker", "feeder")
    for fmt in ("table", "json", "csv"):
        assert fleet.ctl("log", "-o", fmt, "--identity", feeder, codes=(4,)) == ""


def test_a_table_in_a_pipe_is_not_cut(fleet):
    fleet.ctl("ban", "2001:db8:1111:2222:3333:4444:5555:6666", "--reason", "x" * 200)
    assert "2001:db8:1111:2222:3333:4444:5555:6666  " in fleet.ctl("log") and "\u2026" not in fleet.ctl("log")
    assert "x" * 200 in fleet.ctl("bans")
    fleet.ctl("unban", "2001:db8:1111:2222:3333:4444:5555:6666")


def test_a_reader_that_has_enough_ends_it_quietly(fleet):
    r, w = os.pipe()
    os.close(r)
    p = subprocess.run([*within(fleet.ops.ns), fleet.program("kbanctl"), "log"], stdout=w, stderr=subprocess.PIPE, timeout=30,
                       env={**os.environ, "KBAN_IDENTITY": fleet.operator})
    os.close(w)
    assert p.returncode == -signal.SIGPIPE and p.stderr == b""


def test_an_author_whom_nobody_knows_is_not_found(fleet):
    fleet.ctl("log", "--author", "nosuch", codes=(NOT_FOUND,))
    assert "nobody is or was called nosuch" in fleet.err


def test_following_goes_on_over_a_restart_of_the_broker_without_gap_or_duplicate(fleet):
    path = os.path.join(fleet.work, "follow.jsonl")
    with open(path, "w") as out:
        p = subprocess.Popen([*within(fleet.ops.ns), fleet.program("kbanctl"), "log", "198.19.0.0/16", "--follow", "-o", "jsonl"],
                             stdout=out, stderr=subprocess.PIPE, env={**os.environ, "KBAN_IDENTITY": fleet.operator})

    def seen():
        with open(path) as f:
            return [json.loads(line)["what"] for line in f.read().splitlines()]

    try:
        wanted = []
        for i in range(6):
            if i in (2, 4):
                fleet.broker.kill()
                fleet.start_broker()
            fleet.ctl("ban", f"198.19.0.{i}")
            wanted.append(f"198.19.0.{i}")
            if i % 2:
                wait_until("it is told", lambda: seen() == wanted)
        p.send_signal(signal.SIGINT)
        assert p.wait(10) == 0, p.stderr.read()
        assert seen() == wanted
    finally:
        p.kill()
        p.wait()
    fleet.agree()


# policy -----------------------------------------------------------------------------------------


def policy(fleet):
    return fleet.json("policy", "show")


def test_a_policy_is_shown_with_who_set_it(fleet):
    assert fleet.json("policy", "set", "safe-max=65")["outcome"] == "counted"
    assert "safe-max 64 -> 65" in fleet.err
    out = policy(fleet)
    assert out["policy"]["safe_max"] == 65 and out["author"] == "operator" and not out["default"]
    assert {f["name"]: (f["min"], f["max"], f["default"]) for f in out["fields"]}["quota-per-hour"] == (1, 1000000, 5000)
    fleet.ctl("policy", "set", "safe_max=64")
    assert log(fleet, "--kind", "policy")[-1]["why"] == "safe-max 65 -> 64"
    assert fleet.json("policy", "set", "safe-max=64")["outcome"] == "no-change"
    assert "no change" in fleet.err
    rows = [r.split("\t") for r in fleet.ctl("policy", "show", "-o", "tsv").splitlines()]
    assert dict(zip(rows[0], {r[0]: r for r in rows}["history"]))["value"] == str(90 * 86400000)
    with pytest.raises(CtlError) as e:
        fleet.ctl("policy", "set", "history=30d", "history=60d")
    assert "one of them is meant" in e.value.err
    assert "signature checked here" in (fleet.ctl("policy", "show"), fleet.err)[1]


@pytest.mark.parametrize("words, assignment", [
    ("it takes 1 to 1000000", "quota-per-hour=0"), ("it takes 1d to 3660d", "history=1h"), ("it takes 100% to 1000%", "repeat-percent=50"),
    ("did you mean repeat-max", "repeat-mx=1d"), ("is not NAME=VALUE", "history"), ("it takes /8 to /32", "ban-min-len4=/7"),
    ("is no duration", "history="), ("is no number", "quota-per-hour=1e3")])
def test_a_bad_policy_is_refused_here_with_its_range(fleet, words, assignment):
    for verb in ("set", "test"):
        with pytest.raises(CtlError) as e:
            fleet.ctl("policy", verb, assignment)
        assert e.value.code == USAGE and words in e.value.err


def test_a_repeat_offender_is_banned_for_longer_and_why_says_so(fleet):
    feeder = member(fleet, "feed", "feeder")
    fleet.ctl("policy", "set", "repeat-percent=300", "repeat-max=1h")
    fleet.ctl("ban", "192.0.2.40", "--for", "200ms", "--identity", feeder)
    wait_until("it ended", lambda: not why(fleet, "192.0.2.40")["blocked"])
    fleet.ctl("ban", "192.0.2.40", "--for", "10s", "--identity", feeder)
    newest = why(fleet, "192.0.2.40")["reasons"][0]
    assert newest["strikes"] == 2 and newest["until_s"] - newest["since_s"] == 30 and newest["duration_ms"] == 10000
    assert "time 2 that it was banned: lengthened to 30s" in fleet.ctl("why", "192.0.2.40")
    out = fleet.json("policy", "test", "repeat-percent=100")
    assert (out["shortened"], out["lengthened"]) == (1, 0) and out["top"][0] == {"prefix": "192.0.2.40", "change_ms": -20000}
    assert fleet.json("policy", "test", "repeat-percent=300", "--since", "all")["refused"] == 0
    out = fleet.json("policy", "test", "repeat-percent=600", "--since", "1h")
    assert (out["shortened"], out["lengthened"], out["lengthened_ms"]) == (0, 1, 30000)
    fleet.ctl("policy", "set", "repeat-percent=100", "repeat-max=1d")


def test_a_lower_quota_would_hold_a_node_and_then_does(fleet):
    out = fleet.json("policy", "test", "quota-per-hour=1")
    mail1 = {n["name"]: n for n in out["nodes"]}["mail1"]
    assert mail1["on_hold"] and mail1["over_quota"] >= 1 and mail1["refused_on_hold"] >= 1 and out["refused"] >= 2
    assert "mail1 would go on hold at" in fleet.ctl("policy", "test", "quota-per-hour=1")
    assert sum(c["events"] for c in out["changes"] if c["change"] == "refused") == out["refused"]
    assert ("mail1", "ban", "on-hold") in {(c["author"], c["kind"], c["because"]) for c in out["changes"]}
    assert "ban of mail1 (on-hold): " in fleet.ctl("policy", "test", "quota-per-hour=1")
    assert fleet.json("policy", "test", "quota-per-hour=4999")["refused"] == 0
    fleet.ctl("policy", "set", "quota-per-hour=1")
    fleet.nodes[0].attack("192.0.2.50")
    wait_until("mail1 is held", lambda: {n["name"]: n["state"] for n in fleet.cluster()["nodes"]}["mail1"] == "held")
    fleet.ctl("cluster", "list", codes=(6,))
    assert "`kbanctl node release mail1`" in fleet.err
    line = wait_until("the log has it", lambda: "over-quota" in (text := first_line(fleet, "192.0.2.50", codes=(0, 3))) and text)
    assert line.startswith("192.0.2.50 is blocked on mail1 alone, until about") and f"{WORDS}; the fleet refused the ban, over-quota" in line
    out = why(fleet, "192.0.2.50")
    assert (out["blocked"], out["blocked_alone_on"], out["by"]) == (True, "mail1", "192.0.2.50") and out["until"] in line
    assert {n["name"]: n["blocks"] for n in out["nodes"]} == {"mail1": True, "mail2": False}
    assert "(mail1 is on hold: kbanctl node release mail1)" in line
    assert kernel.full("192.0.2.50") in fleet.nodes[0].banned() - fleet.nodes[1].banned()
    fleet.ctl("unban", "192.0.2.50")
    assert "192.0.2.50: mail1 blocked it alone" in fleet.err
    wait_until("mail1 lets it in", lambda: kernel.full("192.0.2.50") not in fleet.nodes[0].banned())
    fleet.ctl("policy", "set", "quota-per-hour=5000")
    fleet.ctl("node", "release", "mail1")
    attack(fleet, "192.0.2.51")
    fleet.agree()


def test_a_shorter_history_says_what_it_drops(fleet):
    out = fleet.ctl("policy", "test", "history=1d")
    assert "0 entries of the log are older than 1d" in out


# fold version -----------------------------------------------------------------------------------


def test_a_fold_version_is_refused_when_it_is_not_the_next(fleet):
    fleet.ctl("cluster", "fold-version", "1", codes=(FAILED,))
    assert "mail1: version" in fleet.err and "the ledger: 1; asked for: 1" in fleet.err and "only the next one can follow" in fleet.err
    fleet.ctl("cluster", "fold-version", "99", codes=(FAILED,))
    assert "upgrade it" in fleet.err
    rows = {(r["member"], r["key"]): r["value"] for r in fleet.json("cluster", "status")["values"]}
    assert rows["broker", "fold_version"] == "1" and rows["mail2", "fold_version"] == "1"
