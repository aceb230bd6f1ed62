-- Whoever un-acknowledges a Case takes its acknowledge time back: the view as before, but for `acknowledged_at`.
CREATE OR REPLACE VIEW case_state_update AS
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
        -- Whoever un-acknowledges takes it back.
        CASE WHEN max(e.created_at) FILTER (WHERE NOT is_later AND e.content ->> 'newStatus' = 'ACKNOWLEDGED')
                > coalesce(
                    max(e.created_at) FILTER (WHERE NOT is_later AND e.content ->> 'newStatus' = 'ACTIVE'), '-infinity')
            THEN max(e.created_at) FILTER (WHERE NOT is_later AND e.content ->> 'newStatus' = 'ACKNOWLEDGED')
        END AS acknowledged_at
    FROM case_timeline e, LATERAL (SELECT e.created_at > t.created_at AS is_later) AS compared
    WHERE e.case_id = t.case_id AND e.kind IN (
        'statusChanged', 'titleChangedEvent', 'assigned', 'unassigned', 'priorityDetailsChanged',
        'resolutionReasonChangedEvent')
) AS other ON true
WHERE t.kind IN ('created', 'statusChanged', 'assigned');
