#!/usr/bin/env bash
# Feeds, labels and kills a job at random moments (SIGKILL), 200 times unless told otherwise, and
# checks that nothing was lost or doubled and that the end is that of a run that was not killed.
#     scripts/kill-soak.sh [KILLS]
set -euo pipefail
cd "$(dirname "$0")/.."
SLUICEBOX_KILLS=${1:-200} cargo test --release --test live -- live_labels::a_killed_job --nocapture
