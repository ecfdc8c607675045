-- Taken up by whichever process follows the topic; a word of damage is not taken back.
update inbox.topic
set asked = case asked when 'damaged' then asked else $2 end
where topic = $1
