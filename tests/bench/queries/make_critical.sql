-- Categories travel in the lane that overtakes.
update outbox.topic set lane = 'critical' where topic = 'catalog.categories'
