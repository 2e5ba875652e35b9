#!/usr/bin/env python3
"""Goal: the parser accepts and refuses exactly what promtool 3 does.

Method: every real alert expression must load. Then a seeded fuzzer breaks them, by dropping,
doubling and swapping tokens, and by swapping in tokens of others; all variants go into one rule
file as alerts, promtool says which it refuses, and the parser must say the same of each.

Usage: promql_parse.py PARSER CONFORMANCE PROMTOOL [--seed N] [--count N]
"""
import argparse, json, os, random, re, subprocess, tempfile

TOKEN = re.compile(r'''"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*|\s+'''
                   r'''|\d[\w.]*|[\w:]+|=~|!~|==|!=|<=|>=|.''', re.S)
# Rare tokens that real expressions hardly hold.
SPICE = ["@", "start()", "end()", "offset", "-", "+", "5m", "[5m]", "[5m:1m]", "[1h:]", "bool", "on()", "ignoring(a)",
         "group_left", "group_right(b)", "by (a)", "without()", "0x1f", "010", "1_000", "1__0", "1e999", "Inf", "NaN",
         "'x'", "`y`", '"\\x41"', '"\\q"', "{", "}", "{}", "[", "]", "(", ")", ",", ":", "=", "=~", "!~", "atan2", "unless",
         "and", "or", "topk", "sum", "limitk", "info", "</", ">/", "^", "%", "# c\n", "fill(0)", "step()", "anchored",
         "5m5s", "5s5m", "1.5h", ".5", "5.", "é", '{"a.b"}', "=="]


def mutate(rng, expressions):
    tokens = TOKEN.findall(rng.choice(expressions))
    for _ in range(rng.choice((1, 1, 1, 2))):
        solid = [i for i, t in enumerate(tokens) if not t.isspace()]
        if not solid:
            break
        i, j = rng.choice(solid), rng.choice(solid)
        how = rng.randrange(5)
        if how == 0:
            del tokens[i]
        elif how == 1:
            tokens.insert(i, tokens[i] + rng.choice(("", " ")))
        elif how == 2:
            tokens[i], tokens[j] = tokens[j], tokens[i]
        elif how == 3:
            tokens[i] = rng.choice([t for t in TOKEN.findall(rng.choice(expressions)) if not t.isspace()] or ["x"])
        else:
            tokens.insert(i, " " + rng.choice(SPICE) + " ")
    return "".join(tokens)


def ours(parser, expressions):
    data = b"".join(e.encode() + b"\0" for e in expressions)
    return subprocess.run([parser], input=data, stdout=subprocess.PIPE, check=True).stdout.decode(
        errors="replace").splitlines()


def refused_by_promtool(promtool, expressions):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rules.yaml")
        rules = [{"alert": f"case{i}", "expr": e} for i, e in enumerate(expressions)]
        with open(path, "w") as out:
            json.dump({"groups": [{"name": "g", "rules": rules}]}, out)  # JSON is YAML
        run = subprocess.run([promtool, "check", "rules", "--lint=none", path], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    text = run.stdout.decode(errors="replace")
    refused = {int(n) for n in re.findall(r'rule \d+, "case(\d+)": could not parse expression', text)}
    if not refused and run.returncode:
        raise SystemExit("promtool said nothing of rules:\n" + text[:2000])
    return refused


def refused_by_eval(tocsin, expressions):
    """Numbers of those that `eval --bulk` does not parse; what fails later was accepted."""
    lines = (json.dumps({"id": str(i), "loads": [], "eval": {"kind": "instant", "expr": e, "at_ms": 0}})
             for i, e in enumerate(expressions))
    run = subprocess.run([tocsin, "eval", "--bulk"], input="\n".join(lines).encode(), stdout=subprocess.PIPE, check=True)
    results = [json.loads(line) for line in run.stdout.splitlines()]
    if len(results) != len(expressions):
        raise SystemExit(f"eval --bulk: {len(results)} results of {len(expressions)} cases")
    return {int(r["id"]) for r in results if re.match(r"\d+:\d+: parse error", r.get("error", ""))}


def refused_by_eval_alone(tocsin, expression):
    """One process a case: exit code 3, and the place on stderr."""
    run = subprocess.run([tocsin, "eval", "--", expression], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return run.returncode == 3 and b"parse error" in run.stderr


def compare(who, cases, refused, ours_refused):
    """(passed, failed), telling the first differences."""
    wrong = sorted(refused ^ ours_refused)
    for i in wrong[:20]:
        print(f"{who}: promtool {'refuses' if i in refused else 'accepts'}: {cases[i]!r}")
    return len(cases) - len(wrong), len(wrong)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("parser")
    args.add_argument("data")
    args.add_argument("promtool")
    args.add_argument("tocsin")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--count", type=int, default=4000)
    args = args.parse_args()
    with open(os.path.join(args.data, "promql", "alert_expressions.jsonl")) as lines:
        real = [json.loads(line)["expr"] for line in lines]
    bad = [(e, o) for e, o in zip(real, ours(args.parser, real)) if o != "ok"]
    for e, o in bad[:20]:
        print(f"real expression refused: {e!r}: {o}")
    failed, passed = len(bad), len(real) - len(bad)

    rng = random.Random(args.seed)
    # An empty expression is a rule without expr, another error; NUL cannot come through a text file.
    cases = [c for c in (mutate(rng, real) for _ in range(args.count)) if c.strip() and "\0" not in c]
    refused = refused_by_promtool(args.promtool, cases)
    print(f"{len(cases)} variants, seed {args.seed}: promtool refuses {len(refused)}")
    for i, answer in enumerate(ours(args.parser, cases)):
        if (answer == "ok") == (i not in refused):
            passed += 1
            continue
        failed += 1
        print(f"promtool {'refuses' if i in refused else 'accepts'}: {cases[i]!r}: {answer}")
    ok, bad = compare("eval --bulk", cases, refused, refused_by_eval(args.tocsin, cases))
    passed, failed = passed + ok, failed + bad
    few = rng.sample(range(len(cases)), 100)
    ok, bad = compare("eval", [cases[i] for i in few], {k for k, i in enumerate(few) if i in refused},
                      {k for k, i in enumerate(few) if refused_by_eval_alone(args.tocsin, cases[i])})
    passed, failed = passed + ok, failed + bad
    print(f"{passed} passed, {failed} failed")
    raise SystemExit(failed > 0)


main()
