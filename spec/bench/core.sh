#!/bin/sh
# core.sh PROGRAM: whether bench_core answers all that it can be asked with a time, and fails on the rest.
program=$1
for operation in switch arch boost collision_1024 memcpy_1024 collision_250000 memcpy_250000; do
    answer=$(echo "$operation 100" | "$program") || exit 1
    case $answer in
        [0-9]*.[0-9]*) echo "$operation: $answer" ;;
        *) echo "$operation: a time expected, got '$answer'"; exit 1 ;;
    esac
done
if echo "nothing 1" | "$program" 2>/dev/null; then
    echo "an unknown operation was taken"
    exit 1
fi
