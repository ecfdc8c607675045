-- A deferred constraint must fail with its record, not at the commit of all.
set constraints all immediate
