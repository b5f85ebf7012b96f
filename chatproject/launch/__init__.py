"""What `make run` runs: Redis, web, worker and beat as one stack that starts, heals and stops as one."""
