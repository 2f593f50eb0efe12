# The parts of the continuous integration that `.ci/run` and `.ci/full` share: a step is one
# command with a time limit, whose output is shown and whose tests are counted. Sourced, not run.

passed=0
failed=0
failures=()
# What `.ci/install` brought, and the program under test.
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/downpour-ci
bin=${CARGO_TARGET_DIR:-target}/release/downpour
work=$(mktemp -d "${TMPDIR:-/tmp}/downpour-ci.XXXXXX")

# Adds the tests that the log of one step reports: the last line "N passed, N failed" of our own
# runners, else every "N passed; N failed" of cargo's. A step that reports none is one test.
tally() {
    local name=$1 log=$2 status=$3 good bad
    read -r good bad < <(awk '
        /^test result: / { for (i = 2; i <= NF; i++) {
            if ($i == "passed;") good += $(i - 1)
            if ($i == "failed;") bad += $(i - 1) } }
        { last = $0 }
        END {
            if (last ~ /^[0-9]+ passed, [0-9]+ failed$/) { split(last, n, " "); good = n[1]; bad = n[3] }
            print good + 0, bad + 0 }' "$log")
    if ((status == 0 && good + bad == 0)); then good=1; fi
    if ((status != 0 && bad == 0)); then bad=1; fi
    passed=$((passed + good))
    failed=$((failed + bad))
    if ((bad > 0)); then
        failures+=("$name")
        # Named again at the end, where they are seen first.
        local line
        while read -r line; do
            failures+=("$name: ${line:0:200}")
        done < <(grep -aE '^(test .* \.\.\. FAILED|FAIL  )' "$log" | head -20)
    fi
}

# step NAME MINUTES COMMAND...: runs a command in at most so many minutes. A failure is counted
# and the next step runs all the same, so that one run shows everything that is wrong.
step() {
    local name=$1 minutes=$2 log status=0 began=$SECONDS
    shift 2
    log=$work/$((passed + failed)).$RANDOM.log
    printf '\n=== %s\n' "$name"
    timeout --kill-after=20 "${minutes}m" "$@" 2>&1 | tee "$log" || status=$?
    if ((status == 124)); then echo "$name: not done within $minutes minutes"; fi
    tally "$name" "$log" "$status"
    printf -- '--- %s: %s in %d s\n' \
        "$name" "$( ((status == 0)) && echo ok || echo "FAILED ($status)")" $((SECONDS - began))
}

# The last lines of every run, however it ends.
summary() {
    local status=$?
    rm -rf "$work"
    trap - EXIT
    if ((status != 0)); then
        failed=$((failed + 1))
        failures+=("the script itself, exit code $status")
    fi
    echo
    if ((${#failures[@]} > 0)); then printf 'failed: %s\n' "${failures[@]}"; fi
    echo "$passed passed, $failed failed"
    if ((failed > 0)); then exit 1; fi
    exit 0
}
trap summary EXIT

# What every change must satisfy before anything is run.
lint_steps() {
    step "cargo fmt" 2 cargo fmt --all --check
    step "cargo clippy" 10 cargo clippy --locked --all-targets -- -D warnings
    step "cargo doc" 10 env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
    step "supply chain" 5 .ci/supply_chain.py
}

# interop SET ARGUMENTS...: runs a set of scenarios of tests/interop.
interop() {
    local set=$1 minutes=$2
    shift 2
    step "interop $set" "$minutes" "$cache/python/bin/python" tests/interop/run.py "$set" \
        --bin "$bin" --npm "$cache/npm" "$@"
}
