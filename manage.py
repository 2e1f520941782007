#!/usr/bin/env python
"""The command line of the site: `manage.py serve`, `migrate`, `models`, `generate`, ..."""

from __future__ import annotations

import sys

from django.core.management import execute_from_command_line

from tinyllm_site.env import calm_threads, use_settings


def main() -> None:
    use_settings()
    calm_threads()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
