"""Running graphs: planning (pure), execution (one loop), XLA, and the session."""
