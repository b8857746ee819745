INSERT INTO accounts (id, version, create_time, update_time, owner, creator, labels, display_name, kind, state,
                      emails, phones, addresses)
SELECT %(account)s, 1, now(), now(), %(owner)s, %(owner)s, '{}', 'Customer', 'ORGANISATION', 'CUSTOMER', '[]', '[]', '[]';

INSERT INTO contacts (id, version, create_time, update_time, owner, creator, labels, display_name, account, accounts,
                      emails, phones, addresses)
SELECT gen_random_uuid(), 1, now(), now(), %(owner)s, %(owner)s, '{}', 'Person ' || n, %(account)s,
       jsonb_build_array(jsonb_build_object('account', %(account)s::text, 'primary', true, 'active', true)),
       '[]', '[]', '[]'
  FROM generate_series(1, 5) AS n;

CREATE TEMPORARY TABLE happened AS
SELECT gen_random_uuid() AS id, now() - n * interval '1 hour' AS time, n,
       CASE n %% 10 WHEN 0 THEN 'tickets' WHEN 1 THEN 'opportunities' WHEN 2 THEN 'opportunities'
                    WHEN 3 THEN 'appointments' WHEN 4 THEN 'tasks' WHEN 5 THEN 'tasks' ELSE 'interactions' END AS collection,
       CASE WHEN n %% 1000 = 0 THEN %(owner)s ELSE %(other)s END::uuid AS owner
  FROM generate_series(1, %(entries)s::int) AS n;

INSERT INTO interactions (id, version, create_time, update_time, owner, creator, labels, kind, subject, participants,
                          participant_addresses, related, occur_time)
SELECT id, 1, time, time, owner, owner, '{}', 'CALL', 'Call ' || n, '{}', '{}', ARRAY['accounts/' || %(account)s], time
  FROM happened WHERE collection = 'interactions';

INSERT INTO tasks (id, version, create_time, update_time, owner, creator, labels, title, state, priority, related)
SELECT id, 1, time, time, owner, owner, '{}', 'Task ' || n, CASE WHEN n %% 500 = 4 THEN 'OPEN' ELSE 'DONE' END, 'NORMAL',
       ARRAY['accounts/' || %(account)s]
  FROM happened WHERE collection = 'tasks';

INSERT INTO appointments (id, version, create_time, update_time, owner, creator, labels, kind, title, state, start_time,
                          end_time, attendees, participants, related, reminder_minutes)
SELECT id, 1, time, time, owner, owner, '{}', 'MEETING', 'Visit ' || n,
       CASE WHEN n %% 500 = 3 THEN 'PLANNED' ELSE 'HELD' END, now() + n * interval '1 hour', now() + (n + 1) * interval '1 hour',
       '[]', '{}', ARRAY['accounts/' || %(account)s], '{}'
  FROM happened WHERE collection = 'appointments';

INSERT INTO timeline_records (id, collection, version, owner, deleted, purged, account, account_as_recorded, title, state,
                              amount, amount_currency)
SELECT id, collection, 1, owner, false, false, %(account)s, %(account)s, 'Record ' || n,
       CASE WHEN collection = 'tickets' THEN 'CLOSED' WHEN n %% 2 = 0 THEN 'WON' ELSE 'LOST' END,
       CASE WHEN collection = 'opportunities' THEN 100 END, CASE WHEN collection = 'opportunities' THEN 'EUR' END
  FROM happened WHERE collection IN ('opportunities', 'tickets');

INSERT INTO timeline_entries (party, party_as_recorded, via, effective_time, id, time, kind, source, collection, record,
                              guard, actor, data, touch, owner, deleted)
SELECT party, party, '00000000-0000-0000-0000-000000000000', time, id, time,
       CASE collection WHEN 'tickets' THEN 'TICKET_CLOSED' WHEN 'opportunities' THEN 'OPPORTUNITY_WON'
                       WHEN 'appointments' THEN 'APPOINTMENT_HELD' WHEN 'tasks' THEN 'TASK_COMPLETED'
                       ELSE 'INTERACTION' END,
       CASE collection WHEN 'tickets' THEN 'support' WHEN 'opportunities' THEN 'sales' ELSE 'customer' END,
       collection, id, id, 'users/' || owner, '{"kind": "CALL"}', collection = 'interactions', owner, false
  FROM happened, LATERAL (VALUES (%(account)s::uuid), (id)) AS parties (party);

DROP TABLE happened
