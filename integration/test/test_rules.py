# SPDX-License-Identifier: MPL-2.0
"""Rules as programs meet them: kbanctl explain beside Debian's fail2ban-regex with its kerio filter, kbanctl replay, and
kban-node reading its rules again."""
import ast
import ipaddress
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "integration" / "fleet"))
from fleet import Fleet  # noqa: E402
from net import wait_until  # noqa: E402

BIN = Path(os.environ.get("KBAN_BIN", str(ROOT / "build" / "dev" / "bin")))
FILTER = Path("/etc/fail2ban/filter.d/kerio.conf")
OK, FAILED, USAGE, NOT_FOUND = range(4)
START = 1_600_000_000  # line i of a list is stamped with START + i, so that fail2ban's rows can be told apart
ENV = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}


def terminal():
    """Both ends of a terminal; a bare chroot may have no /dev/pts."""
    try:
        return pty.openpty()
    except OSError as e:
        pytest.skip(f"no terminal can be made here: {e}")


def kbanctl(*argv, codes=(OK,), **kw):
    p = subprocess.run([BIN / "kbanctl", *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV, timeout=120, **kw)
    assert p.returncode in codes, p.stderr.decode()
    return p


def samples():
    """(class, text behind the envelope or whole line) of each row of lines.tsv."""
    rows = (ROOT / "node/test/lines.tsv").read_text().splitlines()[1:]
    return [(r.split("\t")[3], r.split("\t")[8]) for r in rows]


def stamped(texts):
    """Log lines of these texts, each a second after the one before; one with a syslog header stays as it is."""
    out = []
    for i, text in enumerate(texts):
        stamp = time.strftime("[%d/%b/%Y %H:%M:%S] ", time.gmtime(START + i))
        out.append(text if text.startswith("<") else stamp + re.sub(r"^\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\] ", "", text))
    return out


def single(text):
    """An address in one spelling; None for a host name or what is none."""
    try:
        a = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    return str(getattr(a, "ipv4_mapped", None) or a)


def explain(path, *options):
    return [json.loads(row) for row in kbanctl("explain", "-o", "jsonl", "-q", *options, path).stdout.splitlines()]


def fail2ban(path, rules=FILTER):
    """{index of a line that fail2ban counts: its address or None}; names are not looked up."""
    p = subprocess.run(["fail2ban-regex", "--raw", "--no-check-all", "-o", "row", "-e", "utf-8", str(path), str(rules)],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV, timeout=300)
    assert p.returncode in (0, 1), p.stderr.decode()
    found = {}
    for row in p.stdout.decode().splitlines():
        if row.startswith("["):
            who, at, _ = ast.literal_eval(row.rstrip(","))
            found[int(at) - START] = single(who)
    return found


needs_fail2ban = pytest.mark.skipif(not (shutil.which("fail2ban-regex") and FILTER.exists()), reason="fail2ban is not installed")

# Where kbanctl explain reads a sample line in another way than Debian's filter, by the class of the line. Everything else
# agrees: counted by both with the same address, or by neither.
DIFFERENCES = {
    "bad-password": "the filter has no expression for a wrong password, only for an unknown user",
    "kerio-blocked": "Kerio's own verdict: a ban here, unknown to the filter",
    "directory-harvest": "the filter has no expression for it",
    "unknown-user (pop3)": "the filter has unknown users at SMTP only; here the service is read generically",
    "failed-login (imap)": "the filter has failed logins at SMTP only",
    "spam-attack (port)": "newer versions write the port behind the address; the filter wants a comma there",
    "unknown-recipient (syslog)": "the filter wants Kerio's own envelope at the beginning; explain reads syslog headers too",
    "unknown-user (injection)": "the filter reads the address that the attacker typed as his user name; here the one at the end counts",
}


def kind(name, text):
    for words, mark in ((r"^<", "syslog"), (r"from [\d.]+:\d+", "port"), (r"x doesn't exist\. Attempt", "injection")):
        if re.search(words, text):
            return f"{name} ({mark})"
    service = re.search(r"(?:\] |Failed )(POP3|IMAP)\b", text)
    other = f"{name} ({service.group(1).lower()})" if service else name
    return other if other in DIFFERENCES else name


@needs_fail2ban
def test_explain_and_fail2ban_agree_on_every_sample_line_but_for_a_list_of_reasons(tmp_path):
    rows = samples()
    log = tmp_path / "security.log"
    log.write_text("\n".join(stamped([text for _, text in rows])) + "\n")
    theirs, ours = fail2ban(log), explain(log)
    differ = set()
    for i, (name, text) in enumerate(rows):
        counted = ours[i]["verdict"] in ("failure", "ban")
        if counted == (i in theirs) and single(ours[i]["address"]) == theirs.get(i, single(ours[i]["address"])):
            continue
        differ.add(kind(name, text))
    assert differ == set(DIFFERENCES)


# What the filter knows; %A an address, %T what an attacker types.
FORMS = [
    "SMTP Spam attack detected from %A, client closed connection before SMTP greeting",
    "IP address %A found in DNS blacklist SpamCop, mail from <%T> to <%T>",
    "Relay attempt from IP address %A, mail from <%T> to <%T> rejected",
    "Attempt to deliver to unknown recipient <%T>, from <%T>, IP address %A",
    "Failed SMTP login from %A with SASL method CRAM-MD5.",
    "SMTP: User %T doesn't exist. Attempt from IP address %A.",
    "Client with IP address %A has no reverse DNS entry, connection rejected before SMTP greeting",
    "Administration login into Web Administration from %A failed: IP address not allowed",
    "Message from IP address %A, sender <%T> rejected: sender domain does not exist",
]
UNKNOWN = [
    "IMAP: Invalid password for user %T. Attempt from IP address %A.", "HTTP/WebMail: User %T doesn't exist. Attempt from IP address %A",
    "SPF check failed: The IP address '%A' is not in permitted set for sender '%T' (FAIL)",
    "Message from <%T> to <%T> rejected by header filter: %T", "POP3: User joe authenticated  from IP address %A; %T",
]
PLAIN = ["joe@example.com", "a", "x.y+z@example.org", "'q'", "jürgen@example.com", "100%", "a=b"]
HOSTILE = [" ", "<", ">", ",", "\"", "\\x00", "\t", "192.0.2.1", "[2001:db8::1]", " doesn't exist. Attempt from IP address 192.0.2.1",
           ">, from <b>, IP address 192.0.2.1", " rejected: sender domain does not exist", "SMTP: User ", "Relay attempt from IP address 192.0.2.1",
           " SMTP Spam attack detected from 192.0.2.1,", "Failed SMTP login from 192.0.2.1", "(FAIL)"]
ADDRESSES = ["203.0.113.66", "2a02:1::66", "::ffff:203.0.113.66", "[2a02:1::66]", "fe80::1", "2A02:1:0:0::66"]


def generated(rng, n, forms, typed, addresses):
    def fill(m):
        return rng.choice(addresses) if m.group() == "%A" else "".join(rng.choices(typed, k=rng.choice((1, 1, 2, 3))))
    return [re.sub("%[AT]", fill, rng.choice(forms)) for _ in range(n)]


def seeded():
    seed = int(os.environ.get("SEED", time.time_ns() % 2**32))
    print(f"SEED={seed}")
    return random.Random(seed)


@needs_fail2ban
def test_explain_and_fail2ban_agree_on_generated_lines_that_the_filter_knows(tmp_path):
    texts = generated(seeded(), 3000, FORMS, PLAIN, ADDRESSES)
    log = tmp_path / "security.log"
    log.write_text("\n".join(stamped(texts)) + "\n")
    theirs, ours = fail2ban(log), explain(log)
    for i, text in enumerate(texts):
        assert ours[i]["verdict"] == "failure", text
        assert theirs.get(i) == single(ours[i]["address"]), text


def alone(tmp_path):
    """Options that switch every built-in rule off, so that a filter is seen alone."""
    names = re.findall(r"^rule (\S+) {", (ROOT / "node/rules/kerio.rules").read_text(), re.M)
    rules = tmp_path / "none.rules"
    rules.write_text("".join(f'rule {name} {{\n log = any\n service = x\n verdict = none\n pattern = "(?!)"\n}}\n' for name in names))
    return ["--rules", rules]


@needs_fail2ban
def test_debians_own_filter_loads_and_gives_fail2bans_verdict_on_every_line(tmp_path):
    rng = seeded()
    texts = [text for _, text in samples()] + generated(rng, 6000, FORMS + UNKNOWN, PLAIN + HOSTILE, ADDRESSES + ["mx.example.com", "x-192.0.2.1"])
    log = tmp_path / "security.log"
    log.write_text("\n".join(stamped(texts)) + "\n")
    theirs, ours = fail2ban(log), explain(log, "--rules", FILTER, *alone(tmp_path))
    wrong = []
    for i, text in enumerate(texts):
        matched = (ours[i]["rule"] or "").startswith("kerio.")
        if matched != (i in theirs) or (matched and single(ours[i]["address"]) != theirs[i]):
            wrong.append((text, ours[i]["rule"], ours[i]["address"], theirs.get(i, "nothing")))
    assert wrong == []
    assert sum(i in theirs for i in range(len(texts))) > 2000


DATE = "datepattern = ^\\[%%d/%%b/%%Y %%H:%%M:%%S\\]\n"
OWN_FILTER = r"""[INCLUDES]
before = common.conf
[Definition]
_daemon = (?:SMTP|IMAP)
mode = normal
re-normal = ^User <F-USER>[^@]{,8}@\S+</F-USER> doesn't exist\. .* <ADDR>\.?$
re-hard = ^never <HOST>
prefregex = ^ %(_daemon)s: <F-CONTENT>.+</F-CONTENT>$
failregex = <re-<mode>>
            ^Invalid password for user (?P<q>['"]?)a(?P=q)(?:@[[:alnum:].]+)?\. .* <IP4>
            (?i)attempt FROM ip address <IP6>
ignoreregex = example\.org
datepattern = ^\[%%d/%%b/%%Y %%H:%%M:%%S\]
"""


@needs_fail2ban
def test_a_filter_with_everything_in_it_is_read_as_fail2ban_reads_it(tmp_path):
    rules = tmp_path / "mine.conf"
    rules.write_text(OWN_FILTER)
    (tmp_path / "common.conf").write_text("[DEFAULT]\n")
    forms = ["SMTP: User %T doesn't exist. Attempt from IP address %A.", "IMAP: User %T doesn't exist. Attempt from IP address %A",
             "IMAP: Invalid password for user %T. Attempt from IP address %A.", "POP3: User %T doesn't exist. Attempt from IP address %A"]
    typed = [t for t in PLAIN if t.isascii()] + ["'a'", "'a\"", "a@[:]", "joe@example.org", "longer-than-8@example.com", "\"a\""]
    texts = generated(seeded(), 4000, forms, typed, ADDRESSES)
    log = tmp_path / "security.log"
    log.write_text("\n".join(stamped(texts)) + "\n")
    theirs, ours = fail2ban(log, rules), explain(log, "--rules", rules, *alone(tmp_path))
    for i, text in enumerate(texts):
        matched = (ours[i]["rule"] or "").startswith("mine.")
        assert matched == (i in theirs), text
        assert not matched or single(ours[i]["address"]) == theirs[i], text
    assert len(theirs) > 300


@needs_fail2ban
@pytest.mark.parametrize("regex", ["<HOST>[^,]", "<HOST>\\s", "<ADDR>\\W", "<HOST>$", "<HOST>\\Z", "<HOST>\\n$", "<HOST>.", "<HOST>\\b", "<ADDR>:<F-PORT/>[^,]",
                                   "<ADDR>(?::\\d+)?$", "<HOST>\\D", "<ADDR>[^\\d]", "(?s)<HOST>.$", "(?m)<HOST>$\\n", "<IP4>(?!\\d)"])
def test_what_stands_behind_an_address_at_the_end_of_a_line_is_what_fail2ban_has_there(tmp_path, regex):
    rules = tmp_path / "mine.conf"
    flags, rest = re.match(r"(\(\?\w\))?(.*)", regex).groups()
    rules.write_text(f"[Definition] ; a comment\n{DATE}failregex = {flags or ''}^ foo {rest} ; and another\n"
                     f"            ^ pre <F-USER>[^,]+</F-USER>,{rest}\n")
    texts = [f"{word}{a}{end}" for word in ("foo ", "pre u,") for a in ("203.0.113.55", "203.0.113.5", "2001:db8::15", "[2001:db8::15]", "203.0.113.55:25")
             for end in ("", " ", "\t", ".", ",", ", x", ":25", ":25,")]
    log = tmp_path / "a.log"
    log.write_text("\n".join(stamped(texts)) + "\n")
    if flags:  # only at the beginning, also for Python
        rules.write_text(rules.read_text().replace("            ^ pre", f"            {flags}^ pre"))
    theirs, ours = fail2ban(log, rules), explain(log, "--rules", rules)
    for i, text in enumerate(texts):
        assert (ours[i]["rule"] is not None) == (i in theirs), text
        assert i not in theirs or single(ours[i]["address"]) == theirs[i], text


@needs_fail2ban
@pytest.mark.parametrize("text", ["failregex = ^ a <HOST>\nfailregex = ^ b <HOST>\n", "failregex = ^ a(?i)b <HOST>\n"])
def test_what_fail2ban_refuses_of_a_filter_is_refused(tmp_path, text):
    rules, log = tmp_path / "mine.conf", tmp_path / "a.log"
    rules.write_text("[Definition]\n" + text)
    log.write_text("\n".join(stamped(["ab 192.0.2.1", "a 192.0.2.1"])) + "\n")
    p = subprocess.run(["fail2ban-regex", "--raw", str(log), str(rules)], capture_output=True, env=ENV, timeout=60)
    assert p.returncode not in (0, 1) or b"rror" in p.stdout + p.stderr
    assert f"{rules}:".encode() in kbanctl("explain", "--rules", rules, log, codes=(FAILED,)).stderr


@needs_fail2ban
def test_init_overrides_tags_as_in_fail2ban(tmp_path):
    rules, log = tmp_path / "mine.conf", tmp_path / "a.log"
    rules.write_text("[DEFAULT]\ny = default\n[Init]\nx = init\n[Definition]\n" + DATE + "x = own\nfailregex = ^ <x> %(x)s <y> <HOST>\n")
    texts = [f"{a} {b} default 192.0.2.1" for a in ("init", "own") for b in ("init", "own")]
    log.write_text("\n".join(stamped(texts)) + "\n")
    theirs = fail2ban(log, rules)
    assert [r["rule"] is not None for r in explain(log, "--rules", rules)] == [i in theirs for i in range(len(texts))]
    assert len(theirs) == 1


# --- explain


def test_explain_runs_the_rules_own_tests(tmp_path):
    out = json.loads(kbanctl("explain", "--test", "-o", "json").stdout)["tests"]
    assert len(out) >= 29 and all(t["ok"] is True and t["found"] == t["expected"] for t in out)
    assert {"rule", "line", "expected", "found", "ok"} <= out[0].keys()
    rules = tmp_path / "own.rules"
    rules.write_text('rule mine {\n log = any\n service = x\n verdict = failure\n pattern = "a%address%"\n'
                     ' test = {"a192.0.2.1 => 192.0.2.2 -"}\n}\n'
                     'rule other {\n log = any\n service = x\n verdict = failure\n pattern = "b%address%"\n}\n')
    p = kbanctl("explain", "--test", "--rules", rules, "-o", "json", codes=(FAILED,))
    rows = json.loads(p.stdout)["tests"]
    assert rows[0]["rule"] == "mine" and rows[0]["ok"] is False and rows[0]["found"] == "192.0.2.1 -" and rows[0]["file_line"] == 6
    assert rows[1]["rule"] == "other" and rows[1]["line"] is None and rows[1]["ok"] is None
    assert b"1 failed; 1 rules without a test" in p.stderr
    p = kbanctl("explain", "--rules", rules, codes=(FAILED,), input=b"")
    assert f"{rules}:6: rule mine: its test reads".encode() in p.stderr


def test_explain_tries_only_the_rules_of_a_named_log():
    line = b"[31/Jul/2020 22:30:21] POP3: User joe authenticated  from IP address 192.0.2.7\n"
    for log, rule in (("audit", "login-ok"), ("any", "login-ok"), ("security", None)):
        assert json.loads(kbanctl("explain", "-o", "jsonl", "--log", log, input=line).stdout)["rule"] == rule
    assert b"--log takes one of any, security" in kbanctl("explain", "--log", "papyrus", codes=(USAGE,), input=line).stderr


def test_an_exploding_expression_is_passed_over_and_said_once(tmp_path):
    rules = tmp_path / "slow.conf"
    rules.write_text("[Definition]\nfailregex = ^ (a+)+$<HOST>\n")
    line = b"[31/Jul/2020 22:30:21] " + b"a" * 5000 + b": User x doesn't exist. Attempt from IP address 192.0.2.7\n"
    good = b"[31/Jul/2020 22:30:21] SMTP: User x doesn't exist. Attempt from IP address 192.0.2.7\n"
    for command in ("explain", "replay"):
        p = kbanctl(command, "-o", "json", "--rules", rules, *(["-"] if command == "replay" else []), input=line * 50 + good)
        assert p.stderr.count(b"rule slow.1 is too slow") == 1 and b"50 times a rule was too slow" in p.stderr
    rows = [json.loads(r) for r in kbanctl("explain", "-o", "jsonl", "--rules", rules, input=line + good).stdout.splitlines()]
    assert [r["rule"] for r in rows] == [None, "unknown-user"]


# --- replay

ATTACK = "SMTP: User joe doesn't exist. Attempt from IP address {}"


def log_of(path, *events):
    """events: (seconds after START, text)"""
    path.write_text("".join(time.strftime("[%d/%b/%Y %H:%M:%S] ", time.gmtime(START + s)) + text + "\n" for s, text in events))
    return path


def bans(*argv, **kw):
    out = json.loads(kbanctl("replay", "-o", "json", *argv, **kw).stdout)
    assert set(out) == {"lines", "seconds", "bans"} and out["seconds"] >= 0
    assert all({"address", "service", "rule", "failures", "at", "until"} <= b.keys() for b in out["bans"])
    return out


def test_replay_says_what_the_thresholds_would_have_banned(tmp_path):
    log = log_of(tmp_path / "a.log", *[(6 * i, ATTACK.format("198.51.100.7")) for i in range(10)], (60, "nothing"),
                 (61, "SMTP: AntiHammering - IP address 2001:db8::7 will be blocked for 5 minutes, too many failed logins from this IP address."))
    out = bans(log)
    assert out["lines"] == 12 and [(b["address"], b["service"], b["rule"], b["failures"]) for b in out["bans"]] == [
        ("198.51.100.7", "smtp", "unknown-user", 10), ("2001:db8::/64", "smtp", "kerio-blocked", 1)]
    assert out["bans"][0]["at"] == "2020-09-13T12:27:34Z" and out["bans"][0]["until"] == "2020-09-13T12:32:34Z"
    assert out["bans"][0]["at_s"] == START + 54
    assert [b["address"] for b in bans(log, "--failures", 11)["bans"]] == ["2001:db8::/64"]
    assert [b["address"] for b in bans(log, "--check-time", "50s")["bans"]] == ["2001:db8::/64"]
    assert bans(log, "--failures", 2, "--check-time", 6, "--block-time", "1h")["bans"][0]["until_s"] == START + 6 + 3600
    p = kbanctl("replay", log)
    assert p.stdout.decode().splitlines()[0].split() == ["ADDRESS", "SERVICE", "RULE", "FAILURES", "AT", "UNTIL"]
    assert re.search(rb"^12 lines in .* a second\): 11 known, 11 failures, 2 bans of 2 addresses$", p.stderr, re.M)


def test_replay_repeats_a_running_ban_as_a_node_would(tmp_path):
    def at(*moments):
        log = log_of(tmp_path / "a.log", *[(s, ATTACK.format("198.51.100.7")) for m in moments for s in (m, m)])
        return [b["at_s"] - START for b in bans(log, "--failures", 2, "--check-time", 1, "--block-time", 100)["bans"]]

    assert at(0, 9) == [0]
    assert at(0, 10) == [0, 10]
    assert at(0, 5, 9, 12, 21, 22) == [0, 12, 22]


def test_replay_reads_files_in_the_order_given_and_stdin(tmp_path):
    first = log_of(tmp_path / "a.log", *[(i, ATTACK.format("198.51.100.7")) for i in range(5)])
    second = log_of(tmp_path / "b.log", *[(5 + i, ATTACK.format("198.51.100.7")) for i in range(5)])
    assert len(bans(first, second)["bans"]) == 1 and bans(first, second)["lines"] == 10
    assert len(bans(first, "-", input=second.read_bytes())["bans"]) == 1
    assert len(bans("-", input=first.read_bytes() + second.read_bytes()[:-1])["bans"]) == 1
    empty = bans("-", input=b"")
    assert empty["lines"] == 0 and empty["bans"] == []
    assert b"no/such" in kbanctl("replay", first, tmp_path / "no/such", codes=(NOT_FOUND,)).stderr
    for wrong in (("--failures", "0"), ("--failures", "x"), ("--check-time", "2d"), ("--block-time", "0"), ("--check-time", "1s5ms")):
        p = kbanctl("replay", first, *wrong, codes=(USAGE,))
        assert p.stdout == b"" and wrong[0].encode() in p.stderr


def test_replay_reads_own_rules_with_their_limits(tmp_path):
    rules = tmp_path / "own.rules"
    rules.write_text('rule fax {\n log = any\n service = fax\n verdict = failure\n failures = 3\n check-time = 3600\n block-time = 60\n'
                     ' pattern = "Fax from %address%"\n}\n')
    log = log_of(tmp_path / "a.log", *[(1000 * i, "Fax from 198.51.100.7") for i in range(3)])
    assert bans(log)["bans"] == []
    (b,) = bans(log, "--rules", rules)["bans"]
    assert (b["rule"], b["service"], b["failures"], b["until_s"] - b["at_s"]) == ("fax", "fax", 3, 60)


@needs_fail2ban
def test_debians_filter_beside_the_built_in_rules_counts_no_login_twice_and_loses_nothing(tmp_path):
    def login(s, a):
        return [(s, f"SMTP: User joe doesn't exist. Attempt from IP address {a}"), (s, f"Failed SMTP login from {a} with SASL method LOGIN")]

    log = log_of(tmp_path / "a.log", *[e for i in range(9) for e in login(i, "198.51.100.7")],
                 *[(40 + i, ATTACK.format("198.51.100.8")) for i in range(5)],
                 *[(45 + i, "SMTP: Invalid password for user joe. Attempt from IP address 198.51.100.8") for i in range(5)])
    assert [b["address"] for b in bans(log)["bans"]] == ["198.51.100.8"]
    for failures in (5, 9, 10, 18):
        assert bans(log, "--rules", FILTER, "--failures", failures)["bans"] == bans(log, "--failures", failures)["bans"]


def test_replay_places_syslog_lines_by_their_zone_and_leaves_out_those_without_a_year():
    text = ATTACK.format("198.51.100.7")
    new = "".join(f"<21>1 2026-04-05T02:00:0{i}+02:00 h kerio - - - {text}\n" for i in range(10))
    assert bans("-", input=new.encode())["bans"][0]["at"] == "2026-04-05T00:00:09Z"
    old = "".join(f"<21>Apr  5 02:00:0{i} h kerio: {text}\n" for i in range(10))
    p = kbanctl("replay", "-", input=old.encode())
    assert b"10 failures were not counted" in p.stderr


def on_terminal(*argv):
    """kbanctl with stdin a pipe, stdout a pipe, and a terminal for stderr."""
    ours, its = terminal()
    p = subprocess.Popen([BIN / "kbanctl", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=its, env=ENV)
    os.close(its)
    os.set_blocking(ours, False)
    return p, ours


def said(fd, so_far):
    try:
        so_far += os.read(fd, 65536)
    except (BlockingIOError, OSError):
        pass
    return so_far


def feed(p, fd, until, deadline_s=20):
    """Writes lines until it has said this."""
    text, chunk = bytearray(), b"[17/May/2017 19:43:42] nothing\n" * 1000
    end = time.monotonic() + deadline_s
    while until not in text and time.monotonic() < end:
        p.stdin.write(chunk)
        text = said(fd, text)
    return text


def test_replay_shows_a_bar_on_a_terminal_and_wipes_it():
    p, fd = on_terminal("replay", "-o", "json", "-")
    text = feed(p, fd, b"MB/s")
    assert b"MB/s" in text
    out, _ = p.communicate(timeout=30)
    text = said(fd, text)
    assert p.returncode == 0 and json.loads(out)["bans"] == []
    assert text.rindex(b"\r\x1b[K") > text.rindex(b"MB/s") and b" lines in " in text[text.rindex(b"\r\x1b[K"):]
    os.close(fd)


def test_replay_is_quiet_when_asked(tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"[17/May/2017 19:43:42] nothing\n" * 10)
    p, fd = on_terminal("replay", "-q", str(log))
    p.communicate(timeout=30)
    assert p.returncode == 0 and said(fd, b"") == b""
    os.close(fd)


def test_an_interrupted_replay_prints_nothing_and_says_130():
    p, fd = on_terminal("replay", "-o", "json", "-")
    p.stdin.write((b"[17/May/2017 19:43:42] " + ATTACK.format("198.51.100.7").encode() + b"\n") * 100)
    text = feed(p, fd, b"MB/s")
    p.send_signal(signal.SIGINT)
    assert p.wait(10) == 130
    text = said(fd, text)
    assert p.stdout.read() == b"" and text.endswith(b"\r\x1b[K") and b" lines in " not in text
    os.close(fd)


# --- kban-node


@pytest.fixture(scope="module")
def fleet():
    if os.geteuid():
        pytest.skip("network namespaces need root")
    work = tempfile.mkdtemp(prefix="kban-rules-")
    f = Fleet(str(BIN), work, nodes=0, tag=f"kr{os.getpid()}")
    f.rules = os.path.join(work, "own.rules")
    Path(f.rules).write_text("")
    f.add_node(1, start=False, rules=[f.rules])
    yield f
    f.close()
    shutil.rmtree(work)


def fax(name, pattern):
    return (f'rule {name} {{\n log = security\n service = fax\n verdict = failure\n pattern = "{pattern}"\n}}\n')


def test_a_reload_takes_good_rules_keeps_the_old_ones_for_bad_ones_and_forgets_no_window(fleet):
    n, rules = fleet.nodes[0], Path(fleet.rules)
    rules.write_text(fax("fax", "Fax from %address%"))
    n.start()
    wait_until("the log is followed", lambda: "following" in n.process.output())

    def write(text, times=1):
        n.write(*[time.strftime("[%d/%b/%Y %H:%M:%S] ") + text] * times)

    def reload(words):
        before = len(n.process.output())
        n.process.p.send_signal(signal.SIGHUP)
        wait_until(words, lambda: words in n.process.output()[before:])
        return n.process.output()[before:]

    write("Fax from 198.51.100.7", 5)
    rules.write_text("rule fax {\n log = security\n verdict = perhaps\n")
    said = reload("the rules stay as they were")
    assert f"{rules}:" in said and ";" in said
    write("Fax from 198.51.100.7", 4)
    rules.write_text(fax("fax", "Fax from %address%(") + fax("fax2", "Telefax from %address%"))
    assert f"{rules}:5: rule fax: pattern: missing closing parenthesis" in reload("the rules stay as they were")
    rules.write_text(fax("fax", "Fax from %address%") + fax("fax2", "Telefax from %address%"))
    reload("the rules were read again")
    assert n.banned() == set()
    write("Telefax from 198.51.100.7")  # the tenth, by the new rule
    wait_until("the address is blocked", lambda: any("198.51.100.7" in p for p in n.banned()))
    Path(n.conf).write_text(Path(n.conf).read_text() + "nonsense = 1\n")
    assert "nonsense" in reload("the rules stay as they were")
    n.process.stop()


def test_the_check_of_a_configuration_checks_the_rules(fleet):
    n, rules = fleet.nodes[0], Path(fleet.rules)
    n.configure(rules=[fleet.rules])
    check = [BIN / "kban-node", "-n", "-c", n.conf]
    rules.write_text(fax("fax", "Fax from %address%"))
    assert subprocess.run(check, capture_output=True).returncode == 0
    rules.write_text(fax("fax", "Fax from"))
    p = subprocess.run(check, capture_output=True, text=True)
    assert p.returncode == 1 and f'{rules}:5: rule fax: the pattern has no group "address"; ' in p.stderr
