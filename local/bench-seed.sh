#!/bin/sh
# Times one reserve+commit cycle of this package and of calybris-core, the Rust engine
# that Bursar reimplements. Each of ROUNDS rounds (5) runs both in turn; a round's figure
# is the median of five runs. Prints the medians of the rounds, in nanoseconds, and the
# ratio. Judge the ratio: other load on the machine affects both.
#
# usage: local/bench-seed.sh [PATH/TO/bench.rs], or SEED_BENCH=PATH local/bench-seed.sh
set -eu

core=${1:-${SEED_BENCH:-}}
rounds=${ROUNDS:-5}
if [ -z "$core" ] || [ ! -f "$core" ]; then
	echo "usage: $0 PATH/TO/bench.rs: give calybris-core's benchmark, with budget.rs next to it (not found: \"$core\")" >&2
	exit 2
fi
for tool in rustc go; do
	command -v "$tool" >/dev/null || { echo "$0: $tool is not installed; one of the two engines needs it" >&2; exit 2; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
rustc -O "$core" -o "$work/core"
(cd "$(dirname "$0")" && go test -c -o "$work/local.test" .)

# median of the second column for each name in the first, over all lines.
medians() {
	sort -k1,1 -k2,2n | awk '
		function put() { if (n) print name, value[int((n + 1) / 2)] }
		$1 != name { put(); name = $1; n = 0 }
		{ value[++n] = $2 }
		END { put() }'
}

for round in $(seq "$rounds"); do
	"$work/core" | sed "s/^/$round /" >>"$work/core.rounds"
	"$work/local.test" -test.run '^$' -test.bench '^BenchmarkCycle$' -test.benchtime 2000000x -test.count 5 >"$work/out"
	grep -q ' ns/op' "$work/out" || { cat "$work/out" >&2; exit 1; }
	sed -n 's|^BenchmarkCycle/\([a-z0-9_]*\)[-0-9]*[[:space:]]*[0-9]*[[:space:]]*\([0-9.]*\) ns/op.*|\1 \2|p' "$work/out" |
		medians | sed "s/^/$round /" >>"$work/local.rounds"
	echo "round $round of $rounds done" >&2
done

cut -d' ' -f2- "$work/core.rounds" | medians >"$work/core.medians"
cut -d' ' -f2- "$work/local.rounds" | medians >"$work/local.medians"
printf '%-10s %10s %10s %8s\n' cycle 'core ns' 'local ns' ratio
join "$work/core.medians" "$work/local.medians" |
	awk '{ printf "%-10s %10.1f %10.1f %8.2f\n", $1, $2, $3, $3 / $2 }'
