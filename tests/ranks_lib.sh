# ranks_lib.sh - for scripts that disturb runs of several ranks (sourced, behind run_lib.sh).

# begin N COMMAND..: ranks N in the background; $job is mpirun's process, $ranks how many there are.
begin() {
    ranks=$1
    ranks "$@" >out 2>err </dev/null &
    job=$!
}

# pid_of R: process of rank R of the job that began last; nothing when it is gone.
pid_of() {
    local pid
    for pid in $(below $job); do
        if [[ -r /proc/$pid/environ ]] && tr '\0' '\n' 2>/dev/null </proc/$pid/environ | grep -qx "OMPI_COMM_WORLD_RANK=$1" &&
            [[ $(readlink /proc/$pid/exe) == "$CLLAVA" ]]; then
            echo $pid
            return
        fi
    done
}

# Processes below one, however deep.
below() {
    local child
    for child in $(cat /proc/$1/task/*/children 2>/dev/null); do
        echo $child
        below $child
    done
}

# until_line PATTERN FILE: waits until it is there, or the job has ended.
until_line() {
    until grep -qsE -- "$1" "$2" || ! kill -0 $job 2>/dev/null; do sleep 0.01; done
}

# ended STATUS [SECONDS]: the job ends with that status (a pattern) within 10 s, and leaves no process behind.
ended() {
    local want=$1 limit=${2:-10} status=0 pids end=$((SECONDS + ${2:-10} + 1))
    pids=$(below $job)
    while kill -0 $job 2>/dev/null && ((SECONDS <= end)); do sleep 0.05; done
    if kill -0 $job 2>/dev/null; then
        kill -9 $pids $job 2>/dev/null || true
        fail "the job goes on after $limit s"
    fi
    wait $job || status=$?
    [[ $status == $want ]] || fail "status $status, expected $want"
    for pid in $pids; do
        [[ $(readlink /proc/$pid/exe) != "$CLLAVA" ]] || fail "process $pid is left"
    done
}
