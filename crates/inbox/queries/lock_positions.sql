-- Everything that concerns a whole copy locks its positions first, in name order.
select stream, pn, term from inbox.position where topic = $1 order by stream for update
