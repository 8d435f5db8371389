"""What operators and the cron run."""
