-- Receipts that are not applied yet.
select count(*) from receipt_inbox where state = 'ready'
