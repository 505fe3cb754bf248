"""The parent process: slots, the order of queues, deadlines, the only writing store connection. One thread, no Flask."""
