"""Where the game is played: in this process, or by any concurrent.futures.Executor."""
