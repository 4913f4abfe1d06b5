"""The words that stand for cron strings: one table for the shim, the scheduler and the page.

Owns the table alone. Python 3.6.
"""

__all__ = ["CRON_WORDS"]

CRON_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
