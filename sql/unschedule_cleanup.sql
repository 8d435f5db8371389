-- How does the scheduled cleanup end?
select
    jobname,
    cron.unschedule(jobname) as is_unscheduled
from cron.job
where jobname in ('copperplate-sweep', 'copperplate-cleanup', 'copperplate-memoji', 'copperplate-failures');
