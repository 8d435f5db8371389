-- CHANGES where fences go on after a restore, once for each: above all that were ever given. Every server is stopped.
-- Write in the next line when the backup was restored, in UTC. Run again for the same time, it changes nothing.
with restore as (select 'YYYY-MM-DD HH:MM UTC' as restored_at)

select
    f.fences_go_on_after,
    f.is_raised
from restore as r
cross join lateral copperplate.raise_fences(r.restored_at) as f;
