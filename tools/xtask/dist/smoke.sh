# What every installed xfer has to do. Sourced; programs and libraries are found as the package's user finds them.

# never COMMAND: fails where it succeeds; `!` alone does not end a script.
never() {
    if "$@" >/dev/null 2>&1; then
        echo "this succeeds: $*" >&2
        exit 1
    fi
}

# has COMMAND: whether it is there; says what is not tried without it.
has() {
    command -v "$1" >/dev/null || { echo "  not tried: there is no $1 here"; return 1; }
}

# serve XFERCTL FOLDER: starts a node that serves FOLDER/served on the loopback; sets node and link.
serve() {
    mkdir "$2/served"
    "$1" --quiet serve --root "$2/served" --listen 127.0.0.1:0 --state "$2/state" --link-file "$2/link" &
    node=$!
    tries=0
    until [ -s "$2/link" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || { echo "the node did not start" >&2; exit 1; }
        sleep 0.05
    done
    link=$(cat "$2/link")
}

# stop: ends the node, which has to end well.
stop() {
    kill "$node"
    wait "$node"
}

# smoke PREFIX LIBRARIES
smoke() {
    prefix=$1 libraries=$2
    examples=$prefix/share/doc/xfer/examples
    work=$(mktemp -d)
    test "$(command -v xferctl)" = "$prefix/bin/xferctl"
    echo "  $(xferctl --version)"
    manuals
    completions
    if has systemd-analyze; then
        systemd-analyze verify "$prefix/lib/systemd/system/xfer.service"
        echo "  the unit is verified"
    fi
    transfer
    programs
    rm -r "$work"
}

manuals() {
    for page in xferctl xferctl-serve xferctl-cp; do
        gzip -t "$prefix/share/man/man1/$page.1.gz"
    done
    if has man; then
        test "$(man -w xferctl)" = "$prefix/share/man/man1/xferctl.1.gz"
        man xferctl-serve | grep -q -- --link-file
        echo "  manual pages are found and shown"
    fi
}

completions() {
    bash -ec ". $prefix/share/bash-completion/completions/xferctl; complete -p xferctl" >/dev/null
    grep -q '^#compdef xferctl' "$prefix"/share/zsh/*/_xferctl
    grep -q 'complete -c xferctl' "$prefix/share/fish/vendor_completions.d/xferctl.fish"
    echo "  completions are there"
}

# A file there and back through a node.
transfer() {
    serve xferctl "$work"
    head -c 5000001 /dev/urandom >"$work/sent"
    xferctl --quiet cp "$work/sent" "$link/copy"
    xferctl --quiet cp "$link/copy" "$work/got"
    cmp "$work/sent" "$work/got"
    stop
    echo "  a file went there and back"
}

# Programs by pkg-config, linked shared and static, move a file; one by CMake runs.
programs() {
    has cc && has pkg-config || return 0
    secret=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
    cc -o "$work/receive" "$examples/receive_file.c" $(pkg-config --cflags --libs xfer)
    cc -o "$work/send" "$examples/send_file.c" $(pkg-config --cflags xfer) "$libraries/libxfer.a" $(pkg-config --static --libs xfer | sed 's/-lxfer//')
    needs_library() { readelf --dynamic "$1" | grep -q 'NEEDED.*libxfer\.so\.1'; }
    needs_library "$work/receive"
    never needs_library "$work/send"
    mkfifo "$work/address"
    "$work/receive" 127.0.0.1:0 $secret "$work/received" >"$work/address" &
    receiver=$!
    read -r address <"$work/address"
    "$work/send" "$address" $secret "$work/sent"
    wait $receiver
    cmp "$work/sent" "$work/received"
    echo "  programs by pkg-config moved a file"
    has cmake && has c++ || return 0
    cmake -S /packages/work/trial/test -B "$work/cmake" -DXFER_TARGET=xfer::xfer -DXFER_SOURCE="$examples/pair.cpp" >/dev/null
    cmake --build "$work/cmake" >/dev/null
    "$work/cmake/program" >/dev/null
    echo "  a program by CMake runs"
}
