-- First statement of every delivery: whoever holds this row decides alone what connects.
select topic, pn, term from inbox.position where stream = $1 for update
