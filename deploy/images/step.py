"""Entry point of a job on EMR Serverless: `spark-submit step.py NAME` runs one step of the pipeline."""

import sys

from jobs.cli import main

sys.exit(main(["step", *sys.argv[1:]]))
