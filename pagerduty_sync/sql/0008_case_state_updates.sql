-- How Cases came to be what they are, for questions in DataPrime.

-- One row a creation, a change of status or an assignment, with what the Case was right after it: a field that changed
-- later was what its next change says it was before, any other is what it is now. The resolution reason is the one given
-- by then or, where none was given yet, the one the Case has now: a resolution and its note come in either order.
CREATE VIEW case_state_update AS
SELECT
    t.event_id,
    t.sequence AS id,
    t.created_at AS at,
    t.kind,
    t.content ->> 'oldStatus' AS previous_status,
    t.content ->> 'newStatus' AS current_status,
    t.case_id,
    k.readable_id AS case_number,
    coalesce(t.content ->> 'newStatus', other.status, k.status) AS status,
    coalesce(other.title, k.title) AS title,
    k.description,
    coalesce(other.assignee, k.assignee_user_id, '') AS assignee,
    coalesce(
        other.priorities,
        jsonb_build_object('system', k.system_priority, 'override', k.override_priority)
    ) AS priorities,
    k.category,
    k.labels,
    k.groupings,
    k.created_at AS case_created_at,
    other.acknowledged_at,
    k.resolved_at,
    k.resolved_by,
    k.status_changed_at,
    coalesce(other.reason, k.resolution_reason) AS resolution_reason
FROM case_timeline t
JOIN cases k ON k.id = t.case_id
LEFT JOIN LATERAL (
    SELECT
        (array_agg(e.content ->> 'oldStatus' ORDER BY e.created_at)
            FILTER (WHERE is_later AND e.kind = 'statusChanged'))[1] AS status,
        (array_agg(e.content ->> 'from' ORDER BY e.created_at)
            FILTER (WHERE is_later AND e.kind = 'titleChangedEvent'))[1] AS title,
        -- '' is nobody; null, that no later change tells.
        (array_agg(coalesce(e.content ->> 'previousAssigneeUserId', '') ORDER BY e.created_at)
            FILTER (WHERE is_later AND e.kind IN ('assigned', 'unassigned')))[1] AS assignee,
        (array_agg(e.content -> 'from' ORDER BY e.created_at)
            FILTER (WHERE is_later AND e.kind = 'priorityDetailsChanged'))[1] AS priorities,
        (array_agg(e.content ->> 'from' ORDER BY e.created_at)
            FILTER (WHERE is_later AND e.kind = 'resolutionReasonChangedEvent'))[1] AS reason,
        max(e.created_at) FILTER (WHERE NOT is_later AND e.content ->> 'newStatus' = 'ACKNOWLEDGED') AS acknowledged_at
    FROM case_timeline e, LATERAL (SELECT e.created_at > t.created_at AS is_later) AS compared
    WHERE e.case_id = t.case_id AND e.kind IN (
        'statusChanged', 'titleChangedEvent', 'assigned', 'unassigned', 'priorityDetailsChanged',
        'resolutionReasonChangedEvent')
) AS other ON true
WHERE t.kind IN ('created', 'statusChanged', 'assigned');

-- Serves: the view above over a span of time, newest first.
CREATE INDEX case_timeline_of_states ON case_timeline (created_at DESC, sequence DESC)
    WHERE kind IN ('created', 'statusChanged', 'assigned');
