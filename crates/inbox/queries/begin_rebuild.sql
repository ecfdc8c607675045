-- The next rebuild, and after a divergence or damage also the next history.
update inbox.topic
set phase = 'loading', rebuild = rebuild + 1, history = history + $2, root = $3, cursor = null,
    asked = null, complaint = null
where topic = $1
returning rebuild, history
