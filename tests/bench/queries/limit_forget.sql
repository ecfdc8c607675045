-- Only the rate of changes is wanted; a full table would slow the next round.
truncate limits.change
