"""The fault run: load with a ledger of its own, processes killed at named points and at random, everything joined."""
