-- Unreadable bodies can be read again as they were read: with the charset of the Content-Type, when told.
alter table unreadable_message add column charset text;
