-- Commits with the batch that was tried.
update inbox.attempt set survived = true where stream = $1
