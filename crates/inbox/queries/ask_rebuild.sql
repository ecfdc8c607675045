-- Taken up by whichever process follows the topic.
update inbox.topic set asked = $2 where topic = $1
