# Exits 0 when the engine in this container works: sh probe.sh PORT MODEL [COUNTER ...]. See probe.py; this one needs curl.
# The key, where the engine wants one, is in FREEHOLD_ENGINE_KEY; it goes through stdin, so no command line shows it.
port=$1 model=$2
shift 2
ask() { printf 'Authorization: Bearer %s\n' "${FREEHOLD_ENGINE_KEY:-none}" | curl -fsS -H @- -H 'Content-Type: application/json' "$@"; }
held=${TMPDIR:-/tmp}/freehold-probe-$port
if [ $# -gt 0 ]; then
    metrics=$(ask -m 5 "http://127.0.0.1:$port/metrics" 2>/dev/null)
    now=$(for counter in "$@"; do printf '%s\n' "$metrics" | grep "^$counter"; done)
    before=$(cat "$held" 2>/dev/null)
    printf '%s' "$now" >"$held"
    if [ -n "$now" ] && [ -n "$before" ] && [ "$now" != "$before" ]; then exit 0; fi
fi
body=$(printf '{"model": "%s", "prompt": "a", "max_tokens": 1, "temperature": 0}' "$model")
answer=$(ask -m 20 -d "$body" "http://127.0.0.1:$port/v1/completions") || exit 1
case $answer in *'"choices"'*) exit 0 ;; esac
echo "no token came" >&2
exit 1
