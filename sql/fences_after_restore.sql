-- Where do fences go on after a restore? Run it with every server stopped: it sets them above all ever given.
select
    setval(
        'copperplate.fences',
        -- The restored rows and the restored sequence know nothing of what was given since the backup.
        greatest(s.last_value, (select coalesce(max(g.fence), 0) from public.generation_status as g)) + 1000000000
    ) as fences_go_on_after
from copperplate.fences as s;
