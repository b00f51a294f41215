#!/bin/sh
# Stands in for a Python whose pip fails in the way that $FAKE_PIP says, with $DEST as the download folder.
while [ $# -gt 0 ]; do
    [ "$1" = --dest ] && DEST="$2"
    shift
done
eval "$FAKE_PIP"
