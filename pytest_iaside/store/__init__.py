"""Files: baselines, their archives, the result cache, what is known of this machine."""
