"""Work that goes on after the request: it has the limits of the API key that asked for it."""

from typing import Any

import grpc
import pytest

from crm.common.v1 import import_pb2, lookup_pb2
from crm.sales.v1 import import_pb2_grpc, opportunity_pb2, opportunity_pb2_grpc
from crmkit.ids import uuid7
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

from .test_custom_field_files import ended

IMPORTS = ("sales.imports.*", "sales.opportunities.create", "sales.opportunities.get")


async def imported_state(sales: ServiceUnderTest, person: Person) -> int:
    """The state of an opportunity whose file says that it is won."""
    stub: Any = import_pb2_grpc.ImportServiceStub(sales.channel)
    name = f"Deal {uuid7()}"

    def pieces() -> Any:
        request = import_pb2.CreateUploadRequest()
        request.file.data = f"display_name,state,stage\n{name},WON,Won\n".encode()
        yield request

    upload = await stub.CreateUpload(pieces(), metadata=person.metadata)
    wanted = import_pb2.Import(resource="opportunities", upload=upload.name)
    request = import_pb2.CreateImportRequest(**{"import": wanted})
    run = await stub.CreateImport(request, metadata=person.metadata)
    run = await ended(stub.GetImport, import_pb2.GetImportRequest(name=run.name), person)
    assert run.created_count == 1, run
    ada = await sales.person("*")
    opportunities: Any = opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)
    request = opportunity_pb2.ListOpportunitiesRequest(filter=f'display_name = "{name}"')
    (found,) = (await opportunities.ListOpportunities(request, metadata=ada.metadata)).opportunities
    return int(found.state)


async def test_an_import_begun_with_a_limited_key_has_its_limits(sales: ServiceUnderTest) -> None:
    """INVARIANT: what the key may not do, its import does not do either, whatever the user may."""
    ada = await sales.person("*")
    state = opportunity_pb2.Opportunity
    assert await imported_state(sales, ada) == state.WON
    limited = sales.limited(ada, *IMPORTS)
    assert await imported_state(sales, limited) == state.OPEN
    wider = sales.limited(ada, *IMPORTS, "sales.opportunities.import_history")
    assert await imported_state(sales, wider) == state.WON


async def test_a_service_that_calls_for_somebody_passes_their_limits_on(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: limits hold across services; only a service may name a person at all."""
    ada = await sales.person("*")
    clients = sales.running.home.clients
    look_up: Any = sales.channel.unary_unary(
        "/crm.common.v1.LookupService/LookUpRecords",
        request_serializer=lookup_pb2.LookUpRecordsRequest.SerializeToString,
        response_deserializer=lookup_pb2.LookUpRecordsResponse.FromString,
    )
    request = lookup_pb2.LookUpRecordsRequest(
        collection="products", field="sku", values=["nothing"]
    )
    for limits in (None, ["sales.*"], ["sales.opportunities.*", "sales.products.get"]):
        await eventually(lambda: ada.id in sales.running.home.rights.users)
        await look_up(request, metadata=clients.as_service(ada.name, limits))
    for limits in ([], ["customer.*"]):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await look_up(request, metadata=clients.as_service(ada.name, limits))
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    # A person's own token names nobody else, and is not widened by the header.
    limited = sales.limited(ada, "sales.products.list")
    forged = (*limited.metadata, ("x-limited-to", "*"), ("x-on-behalf-of", ada.name))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await look_up(request, metadata=forged)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
