# table_lib.sh - tables of docs/methods-table.md (sourced): a sweep on this machine, its table put between two marks of the page. A
# sweep that was stopped goes on.
#
# CLLAVA, SEEDS, JOBS, TRAIN, TEST and PAGE change program, seeds, runs at a time, records per task, the page.
set -euo pipefail
root=$(cd "${BASH_SOURCE%/*}/../.." && pwd)
program=${CLLAVA:-$root/build/cllava} page=${PAGE:-$root/docs/methods-table.md}
seeds=${SEEDS:-0 1 2} jobs=${JOBS:-1} train=${TRAIN:-1000} test=${TEST:-200}

# The embedded domain stream and its base into $folder.
write_demo() {
    mkdir -p "$folder"
    [[ -e $folder/stream/medical/test.json ]] ||
        "$program" demo "$folder" --write-only --train "$train" --test "$test" --base "$root/demo/base"
}

# sweep_head BASE OUTPUT: the lines of a sweep before its list.
sweep_head() { printf 'base: %s\noutput: %s\njobs: %s\nseeds: [%s]\nlist:\n' "$1" "$2" "$jobs" "${seeds// /, }"; }

# run_sweep FILE BY: trains what is not done; FILE.md and FILE.csv become the table. Failed runs: status 1 at the script's end.
run_sweep() {
    "$program" sweep "$1" --local || status=$?
    case ${status:-0} in
    0) ;;
    75) exit 75 ;; # stopped: the same command goes on
    *) echo "some runs failed: the table says of how many runs each row is" >&2 ;;
    esac
    "$program" sweep table "$1" --by "$2" --markdown "$1.md" --csv "$1.csv" >&2
}

made_by() { echo "Seeds ${seeds// /, }; $("$program" --version) $(git -C "$root" rev-parse --short HEAD 2>/dev/null || true)."; }

# options_table NAME BASE: the list of a sweep over BASE of the demo (stdin) as block NAME, a row for all that a run changes.
options_table() {
    write_demo </dev/null # stdin is the list
    { sweep_head "$2" "$1" && cat; } >"$folder/$1.yaml"
    run_sweep "$folder/$1.yaml" changes
    {
        cat "$folder/$1.yaml.md"
        echo
        echo "$(made_by) $train training and $test test records per task; the base is \`$2\` of \`cllava demo\`."
    } >"$folder/block.md"
    put_block "$1" "$folder/block.md"
}

# put_block NAME FILE: the lines between <!-- NAME --> and <!-- /NAME --> of the page become those of FILE.
put_block() {
    if ! grep -qx "<!-- $1 -->" "$page" || ! grep -qx "<!-- /$1 -->" "$page"; then
        echo "$page has no <!-- $1 --> and <!-- /$1 -->" >&2
        exit 1
    fi
    {
        sed "/^<!-- $1 -->\$/q" "$page"
        echo
        cat "$2"
        echo
        sed -n "/^<!-- \/$1 -->\$/,\$p" "$page"
    } >"$folder/page.md"
    cp "$folder/page.md" "$page"
}
