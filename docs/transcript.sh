#!/bin/sh
# Records the talk that the README shows: types it into the terminal client and prints what stands on the screen.
# Needs tmux, and a server that runs on this folder (make run). CHAT_LLM=demo, or the words will differ.
set -eu
CLIENT="${CLIENT:-.venv/bin/python manage.py chat --user demo --agent support --no-color}"

tmux() { command tmux -L transcript -f /dev/null "$@"; }
screen() { tmux capture-pane -p -J -S -; }
say() { tmux send-keys -l "$1"; tmux send-keys Enter; }
shows() {
    for _ in $(seq 300); do
        if screen | grep -qF "$1"; then return; fi
        sleep 0.1
    done
    echo "never shown: $1" >&2
    exit 1
}

.venv/bin/python manage.py seedshop >&2
trap 'tmux kill-server' EXIT
tmux new-session -d -x 100 -y 50 "CHAT_PASSWORD=${CHAT_PASSWORD:-demo} $CLIENT"
shows "a message starts a new session"
say "Please cancel order 1001."
shows "y approves"
say "y"
shows "refund 78.50 USD"
say "Where is order 1002, and take 10 % off order 1004"
shows '"percent": 10'
say "n ask me again tomorrow"
shows "was refused by a person: ask me again tomorrow"
shows " · /help" # the status line, when nothing is in progress
screen | sed -n '/^› Please cancel/,/^›$/p' | sed '$d'
