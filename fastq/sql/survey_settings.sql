-- Settings that somebody has given to this database or this role.
-- Locks: none. Index: none. Caller: insights.facts.
select case when s.setrole = 0 then 'database ' || d.datname else 'role ' || r.rolname end as of_what, u.setting
from pg_db_role_setting s
left join pg_database d on d.oid = s.setdatabase
left join pg_roles r on r.oid = s.setrole
cross join lateral unnest(s.setconfig) as u(setting)
where (s.setdatabase = 0 or d.datname = current_database()) and (s.setrole = 0 or r.rolname = current_user)
order by 1, 2
